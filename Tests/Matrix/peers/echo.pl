# Perl's sockets: a server that forks, one of IO::Select, and the client that compares (echo.py says what it sends).
# Usage: perl echo.pl serve-fork|serve-select|ask PORT
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($what, $port) = @ARGV;
$SIG{PIPE} = 'IGNORE';

sub write_all {
    my ($socket, $data) = @_;
    for (my $at = 0; $at < length $data;) {
        my $sent = syswrite($socket, $data, length($data) - $at, $at);
        die "write: $!" unless defined $sent;
        $at += $sent;
    }
}

sub answer {
    my ($socket) = @_;
    my $size = sysread($socket, my $data, 65536);
    die "read: $!" unless defined $size;
    write_all($socket, $data) if $size;
    return $size;
}

sub serve {
    my ($forks) = @_;
    my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => $port, ReuseAddr => 1) or die $@;
    $SIG{CHLD} = 'IGNORE';
    my $select = IO::Select->new($listener);
    while (1) {
        for my $ready ($select->can_read) {
            if ($ready != $listener) {
                next if answer($ready);
                $select->remove($ready);
                close $ready;
                next;
            }
            my $connection = $listener->accept or next;
            if (!$forks) { $select->add($connection); next }
            if (fork == 0) {
                close $listener;
                1 while answer($connection);
                exit 0;
            }
            close $connection;
        }
    }
}

sub expect {
    my ($socket, $wanted) = @_;
    my $got = '';
    while (length $got < length $wanted) {
        sysread($socket, $got, length($wanted) - length($got), length $got) or die 'the stream ended early';
    }
    die 'other bytes came back than were sent' unless $got eq $wanted;
}

sub converse {
    my $block = pack 'C*', map { int rand 256 } 1 .. 65521;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $@;
    for my $round (0 .. 999) {
        my $message = substr $block, 0, 1 + $round * 37 % 9000;
        write_all($socket, $message);
        expect($socket, $message);
    }
    # A child sends, and its parent reads what comes back.
    my $bulk = substr $block x 16, 0, 1_000_000;
    my $child = fork;
    if ($child == 0) {
        write_all($socket, $bulk);
        shutdown $socket, 1;
        exit 0;
    }
    expect($socket, $bulk);
    waitpid $child, 0;
    die "the sender failed: $?" if $?;
    die 'bytes after the end' if sysread $socket, my $more, 1;
}

if ($what =~ /^serve/) { serve($what eq 'serve-fork') }
converse() for 1 .. 4;
print "compared 4 connections\n";
