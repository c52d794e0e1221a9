# Tcl's channels and file events: an echo server with fcopy, and the client that compares (echo.py says what it sends).
# Usage: tclsh echo.tcl serve|ask PORT
lassign $argv what port

proc accept {channel address from} {
    fconfigure $channel -translation binary -blocking 0 -buffering none
    fcopy $channel $channel -command [list finished $channel]
}

proc finished {channel bytes {problem {}}} { close $channel }

proc fail {message} { puts stderr $message; exit 1 }

proc block {} {
    set bytes {}
    for {set i 0} {$i < 65521} {incr i} { lappend bytes [expr {int(rand() * 256)}] }
    binary format c* $bytes
}

proc say {channel size} {
    global block wanted got
    set wanted($channel) [string range [expr {$size > 9000 ? [string repeat $block 16] : $block}] 0 $size-1]
    set got($channel) {}
    puts -nonewline $channel $wanted($channel)
}

proc readable {channel} {
    global wanted got round running
    append got($channel) [read $channel]
    if {[eof $channel]} {
        if {$round($channel) != 1001 || $got($channel) ne {}} { fail "the stream ended early" }
        close $channel
        if {[incr running -1] == 0} { set ::done 1 }
        return
    }
    if {$wanted($channel) eq {} || [string length $got($channel)] < [string length $wanted($channel)]} return
    if {$got($channel) ne $wanted($channel)} { fail "other bytes came back than were sent" }
    incr round($channel)
    if {$round($channel) < 1000} { return [say $channel [expr {1 + $round($channel) * 37 % 9000}]] }
    if {$round($channel) == 1000} { return [say $channel 1000000] }
    set wanted($channel) {}
    set got($channel) {}
    close $channel write
}

if {$what eq "serve"} {
    socket -server accept -myaddr 127.0.0.1 $port
    vwait forever
}
set block [block]
set running 4
for {set i 0} {$i < 4} {incr i} {
    set channel [socket 127.0.0.1 $port]
    fconfigure $channel -translation binary -blocking 0 -buffering none
    set round($channel) 0
    fileevent $channel readable [list readable $channel]
    say $channel 1
}
vwait done
puts "compared 4 connections"
