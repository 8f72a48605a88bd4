/** Detects that the server is gone: nothing was received for a time, or a probe had no answer. */

const PROOF_WITHIN_MS = 2000; // the server must answer a probe within this time, or the connection is lost
const LATE_MS = 1000; // a timer that is later than this shows that the process did not run

export class Silence {
    #gone;
    #probe;
    #limitMs;
    #endsAt; // when the server is gone unless a message comes; 0 while a probe has no answer
    #timer;

    /** `gone()` is called when nothing was received for too long, or after `probe()`, which sends something that has an answer. */
    constructor(gone, probe) {
        this.#gone = gone;
        this.#probe = probe;
    }

    /** From now on, this much silence means that the server is gone. */
    listen(limitMs) {
        this.#limitMs = limitMs;
        this.received();
        this.#wait(limitMs);
    }

    /** A message came. */
    received() {
        this.#endsAt = performance.now() + this.#limitMs;
    }

    /** Sends a probe, unless one has no answer yet; any message is proof. */
    prove() {
        if (!this.#endsAt)
            return;
        this.#endsAt = 0;
        this.#wait(PROOF_WITHIN_MS);
        this.#probe();
    }

    stop() {
        clearTimeout(this.#timer);
    }

    // One timer for all messages: it waits for the rest. If the process did not run, what came meanwhile is read after this, so the
    // connection gets one more chance.
    #wait(ms) {
        this.stop();
        const lateAt = performance.now() + ms + LATE_MS;
        this.#timer = setTimeout(() => {
            const leftMs = this.#endsAt - performance.now();
            if (leftMs > 0)
                this.#wait(leftMs);
            else if (this.#endsAt && performance.now() > lateAt)
                this.prove();
            else
                this.#gone();
        }, ms);
    }
}
