/** Detects that the server is gone: nothing was heard for a time, or a probe had no answer. */

const PROOF_WITHIN_MS = 2000; // the server must answer a probe within this time, or the connection is lost

export class Silence {
    #gone;
    #heardAt;
    #limitMs;
    #timer;
    #proof; // the timer of a probe

    /** `gone(limitMs)` is called when nothing was heard for so long, and `gone()` when a probe had no answer. */
    constructor(gone) {
        this.#gone = gone;
    }

    /** From now on, this much silence means that the server is gone. */
    listen(limitMs) {
        this.#limitMs = limitMs;
        this.#heardAt = performance.now();
        this.#check();
    }

    /** A message came. */
    heard() {
        this.#heardAt = performance.now();
        clearTimeout(this.#proof);
        this.#proof = undefined;
    }

    /** Sends a probe, unless one has no answer yet; any message is proof. */
    prove(send) {
        if (this.#proof !== undefined)
            return;
        this.#proof = setTimeout(() => this.#gone(), PROOF_WITHIN_MS);
        send();
    }

    stop() {
        clearTimeout(this.#timer);
        clearTimeout(this.#proof);
        this.#proof = undefined;
    }

    // One timer for all messages: it checks how long ago the last message came, and waits for the rest.
    #check() {
        clearTimeout(this.#timer);
        const leftMs = this.#heardAt + this.#limitMs - performance.now();
        if (leftMs > 0)
            this.#timer = setTimeout(() => this.#check(), leftMs);
        else
            this.#gone(this.#limitMs);
    }
}
