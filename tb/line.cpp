// A board in simulation, at the pins of its UART: bytes from one file descriptor become bits at `rx`, bits at `tx` become bytes to
// another.
//
// Usage: model IN OUT CYCLES [MOST], the clock cycles of a bit and of all. The model has pins clk, rst, rx and tx. The clock runs while
// bytes come and for QUIET cycles after the last, and on when another comes. When IN ends, so does the program, after that.
// With MOST the clock does not wait for bytes, and the program ends with status 3 after as many cycles.

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <poll.h>
#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

static const int QUIET = 20000, BITS = 10;

static std::unique_ptr<Vtop> top;
static int divisor;
static long cycles = 0;

static void cycle() {
    cycles++;
    top->clk = 0;
    top->eval();
    top->clk = 1;
    top->eval();
}

// The sender: the frame's bits that are left, the lowest first, and the cycles of its bit.
struct Sender {
    int frame = 0, bits = 0, left = 0;
    bool idle() const { return bits == 0; }
    void begin(unsigned char byte) {
        frame = byte << 1 | 1 << (BITS - 1);
        bits = BITS;
        left = divisor;
    }
    int level() {
        if (bits == 0) return 1;
        const int now = frame & 1;
        if (--left == 0) {
            frame >>= 1;
            bits--;
            left = divisor;
        }
        return now;
    }
};

// The receiver: -1, or the byte whose stop bit is in its middle; -2 if that is low.
struct Receiver {
    int frame = 0, bits = 0, left = 0;
    int take(int level) {
        if (bits == 0) {
            if (level) return -1;
            bits = BITS;
            frame = 0;
            left = divisor / 2 + 1;
        }
        if (--left) return -1;
        frame |= level << (BITS - bits);
        left = divisor;
        if (--bits) return -1;
        return level ? frame >> 1 & 0xFF : -2;
    }
};

int main(int argc, char** argv) {
    if (argc < 4 || argc > 5 || (divisor = atoi(argv[3])) < 2) {
        fprintf(stderr, "usage: model IN OUT CYCLES [MOST] (file descriptors, cycles of a bit, of all)\n");
        return 2;
    }
    const int in = atoi(argv[1]), out = atoi(argv[2]);
    const bool waits = argc == 4;
    const long most = waits ? LONG_MAX : atol(argv[4]);
    top = std::make_unique<Vtop>();
    Sender sender;
    Receiver receiver;
    top->rx = 1;
    top->rst = 1;
    for (int i = 0; i < 8; i++) cycle();
    top->rst = 0;
    // A part that has just been configured counts a while before it listens.
    for (int i = 0; i < QUIET; i++) cycle();
    bool ended = false;
    int quiet = 0;
    while (!ended || quiet < QUIET) {
        if (cycles >= most) {
            fprintf(stderr, "no end within %ld cycles\n", most);
            return 3;
        }
        if (sender.idle() && !ended) {
            pollfd waiting = {in, POLLIN, 0};
            if (poll(&waiting, 1, waits && quiet >= QUIET ? -1 : 0) > 0) {
                unsigned char byte;
                const ssize_t count = read(in, &byte, 1);
                if (count == 1) sender.begin(byte);
                else if (count == 0 || (errno != EINTR && errno != EAGAIN)) ended = true;
            }
        }
        quiet = sender.idle() ? quiet + 1 : 0;
        top->rx = sender.level();
        cycle();
        const int byte = receiver.take(top->tx);
        if (byte == -2) {
            fprintf(stderr, "a byte without stop bit\n");
            return 1;
        }
        if (byte >= 0) {
            quiet = 0;
            const unsigned char one = byte;
            if (write(out, &one, 1) != 1) return 1;
        }
    }
    top->final();
    top.reset();
    return 0;
}
