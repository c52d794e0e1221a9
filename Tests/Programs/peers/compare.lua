-- For wrk: compares every body with the file in the environment variable EXPECT_FILE.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = io.open(os.getenv("EXPECT_FILE"), "rb")
  expected = file:read("*a")
  file:close()
  bad = 0
  good = 0
end

function response(status, headers, body)
  if status == 200 and body == expected then
    good = good + 1
  else
    bad = bad + 1
  end
end

function done(summary, latency, requests)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do
    good = good + thread:get("good")
    bad = bad + thread:get("bad")
  end
  print("compared good=" .. good .. " bad=" .. bad)
end
