// A library: the accelerator in tb/fast.v, a memory behind it that is the caller's buffer, and the host that starts a program.
//
// A call runs a whole program. The memory keeps the timing of sim/cycles/memory.py, which tb/axi_memory.v states in Verilog.
// sim/fast.py has the same structures for ctypes.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

double sc_time_stamp() { return 0; }

enum Outcome { ENDED, REFUSED, STOPPED, SILENT, UNTRACED };

struct Job {
    uint8_t* image;
    uint64_t base, beats, limit;
    uint64_t read_latency, write_latency, interval, outstanding;
    const uint32_t* writes;  // offset and value of each
    const uint32_t* reads;
    uint32_t* values;
    uint64_t writes_count, reads_count;
    uint64_t reset, status;
    const char* trace;
    uint64_t trace_first, trace_last;
    const volatile int32_t* stop;
};

struct Result {
    uint64_t outcome, cycles, interrupt, idle, breaches, read_beats, write_beats;
    double seconds;
};

static const unsigned SLOTS = 64, SETTLE = 2000, LITE_LIMIT = 10000, OKAY = 0, SLVERR = 2;
static const uint64_t LOOK = 0xffff;

class Machine {
    VerilatedContext context;
    Vtop top;
    const Job* job = nullptr;

    static constexpr unsigned BEAT = sizeof(Vtop::next_rdata);
    static constexpr uint64_t MASK = ~0ull >> (64 - 8 * sizeof(Vtop::araddr));

    // Accepted bursts wait in rings, the oldest delivers or answers.
    struct Read {
        uint64_t beat, time;
        uint32_t length;
    };
    struct Write {
        uint64_t beat, time;
        bool error;
    };
    Read reads[SLOTS];
    Write writes[SLOTS];
    uint64_t now = 0, reads_in = 0, reads_out = 0, read_next = 0;
    uint64_t writes_in = 0, writes_data = 0, writes_out = 0, write_next = 0;
    uint32_t read_place = 0, write_place = 0;
    bool write_outside = false;

#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> trace;
#endif

    void forget() {
        now = reads_in = reads_out = read_next = writes_in = writes_data = writes_out = write_next = 0;
        read_place = write_place = 0;
        write_outside = false;
    }

    // After an edge `next_*` are what this cycle has.
    void take_reads() {
        if (top.next_rvalid && top.rready) {
            read_next = now + job->interval;
            if (top.next_rlast) {
                reads_out++;
                read_place = 0;
            } else {
                read_place++;
            }
        }
        if (top.arvalid && top.next_arready) {
            reads[reads_in++ % SLOTS] = {((top.araddr - job->base) & MASK) / BEAT, now + job->read_latency, top.arlen};
        }
    }

    void take_writes() {
        if (top.next_bvalid && top.bready) writes_out++;
        if (top.wvalid && top.next_wready) {
            Write& one = writes[writes_data % SLOTS];
            const uint64_t index = (one.beat + write_place) & MASK;
            const bool inside = index < job->beats;
            if (inside) store(job->image + index * BEAT);
            write_next = now + job->interval;
            write_outside = write_outside || !inside;
            write_place++;
            if (top.wlast) {
                one.time = now + job->write_latency;
                one.error = write_outside;
                write_place = 0;
                write_outside = false;
                writes_data++;
            }
        }
        if (top.awvalid && top.next_awready) {
            writes[writes_in++ % SLOTS].beat = ((top.awaddr - job->base) & MASK) / BEAT;
        }
    }

    void store(uint8_t* to) {
        const uint8_t* from = reinterpret_cast<const uint8_t*>(&top.wdata);
        const uint64_t strobe = top.wstrb;
        for (unsigned i = 0; i < BEAT; i++) {
            if (strobe >> i & 1) to[i] = from[i];
        }
    }

    // What the memory answers in cycle `now`: nothing but what was accepted before counts.
    void answer() {
        top.next_arready = reads_in - reads_out < job->outstanding;
        const Read& read = reads[reads_out % SLOTS];
        top.next_rvalid = reads_in != reads_out && now >= read.time && now >= read_next;
        if (top.next_rvalid) {
            const uint64_t index = (read.beat + read_place) & MASK;
            top.next_rlast = read_place == read.length;
            top.next_rresp = index < job->beats ? OKAY : SLVERR;
            if (index < job->beats) {
                memcpy(&top.next_rdata, job->image + index * BEAT, BEAT);
            } else {
                memset(&top.next_rdata, 0, BEAT);
            }
        }
        top.next_awready = writes_in - writes_out < job->outstanding;
        top.next_wready = writes_in != writes_data && now >= write_next;
        const Write& write = writes[writes_out % SLOTS];
        top.next_bvalid = writes_data != writes_out && now >= write.time;
        top.next_bresp = write.error ? SLVERR : OKAY;
    }

    void cycle() {
        take_reads();
        take_writes();
        now++;
        answer();
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
#if VM_TRACE
        const uint64_t at = top.cycles;
        if (trace && at >= job->trace_first && at <= job->trace_last && !top.done) {
            trace->dump(10 * at);
            top.clk = 0;
            top.eval();
            trace->dump(10 * at + 5);
        }
#endif
    }

    bool lite_write(uint32_t address, uint32_t value) {
        top.next_lite_address = address;
        top.next_lite_wdata = value;
        top.next_lite_awvalid = top.next_lite_wvalid = 1;
        cycle();
        for (unsigned i = 0; i < LITE_LIMIT; i++) {
            if (top.lite_awready) top.next_lite_awvalid = 0;
            if (top.lite_wready) top.next_lite_wvalid = 0;
            const bool answered = top.lite_bvalid, held = top.lite_bresp == OKAY;
            cycle();
            if (answered) return held;
        }
        return false;
    }

    bool lite_read(uint32_t address, uint32_t* value) {
        top.next_lite_address = address;
        top.next_lite_arvalid = 1;
        cycle();
        for (unsigned i = 0; i < LITE_LIMIT; i++) {
            if (top.lite_arready) top.next_lite_arvalid = 0;
            const bool answered = top.lite_rvalid, held = top.lite_rresp == OKAY;
            *value = top.lite_rdata;
            cycle();
            if (answered) return held;
        }
        return false;
    }

    void reset() {
        top.rst = 1;
        for (int i = 0; i < 4; i++) cycle();
        top.rst = 0;
        cycle();
        forget();
        answer();
    }

    bool rest() {
        uint32_t status = 1;
        for (unsigned i = 0; i < SETTLE; i++) {
            if (!lite_read(job->status, &status)) return false;
            if (!(status & 1)) return true;
        }
        return false;
    }

    Outcome program(Result* result) {
        if (job->reset) {
            reset();
        } else if (!rest()) {
            return SILENT;
        }
        for (uint64_t i = 0; i < job->writes_count; i++) {
            if (!lite_write(job->writes[2 * i], job->writes[2 * i + 1])) return REFUSED;
        }
        while (!top.done) {
            if ((now & LOOK) == 0 && *job->stop) return STOPPED;
            cycle();
        }
        result->interrupt = top.raised;
        result->cycles = top.cycles;
        result->read_beats = top.read_beats;
        result->write_beats = top.write_beats;
        for (unsigned i = 0; i < SETTLE && !top.idle; i++) cycle();
        result->idle = top.idle;
        result->breaches = top.breaches;
        for (uint64_t i = 0; i < job->reads_count; i++) {
            if (!lite_read(job->reads[i], job->values + i)) return REFUSED;
        }
        return ENDED;
    }

public:
    Machine() : top(&context) {
#if VM_TRACE
        context.traceEverOn(true);
#endif
    }

    ~Machine() { top.final(); }

    void run(const Job* work, Result* result) {
        job = work;
        top.limit = job->limit;
#if VM_TRACE
        if (job->trace) {
            trace = std::make_unique<VerilatedVcdC>();
            top.trace(trace.get(), 99);
            trace->open(job->trace);
        }
#endif
        const auto started = std::chrono::steady_clock::now();
        result->outcome = program(result);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
        result->seconds = seconds.count();
#if VM_TRACE
        if (trace) {
            // One without room left ends the process: Verilator does that.
            if (!trace->isOpen() && result->outcome == ENDED) result->outcome = UNTRACED;
            trace->close();
        }
        trace.reset();
#endif
    }
};

extern "C" {
Machine* fast_open() { return new Machine; }
void fast_close(Machine* machine) { delete machine; }
void fast_run(Machine* machine, const Job* job, Result* result) { machine->run(job, result); }
}
