-- For wrk: compares every body with the file in the environment variable EXPECT_FILE. With AT_LEAST_BODIES, wrk ends as by
-- Ctrl-C when AT_LEAST_SECONDS are over and a thread has compared so many: a slow machine needs longer, and fails nothing.
local ffi = require("ffi")
ffi.cdef([[
struct timespec { long seconds, nanoseconds; };
int clock_gettime(int clock, struct timespec *time);
int getpid(void);
int kill(int pid, int signal);
]])
local SIGINT = 2
local threads = {}

local function now()
  local time = ffi.new("struct timespec")
  ffi.C.clock_gettime(1, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = io.open(os.getenv("EXPECT_FILE"), "rb")
  expected = file:read("*a")
  file:close()
  bad = 0
  good = 0
  bodies = tonumber(os.getenv("AT_LEAST_BODIES")) or math.huge
  enough = now() + (tonumber(os.getenv("AT_LEAST_SECONDS")) or 0)
end

function response(status, headers, body)
  if status == 200 and body == expected then
    good = good + 1
  else
    bad = bad + 1
  end
  if good >= bodies and now() > enough then
    bodies = math.huge
    ffi.C.kill(ffi.C.getpid(), SIGINT)
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
