/**
 * How long to wait before try number `attempt` (from 0) to connect again. "Full jitter" (Marc Brooker, "Exponential Backoff And Jitter",
 * 2015): uniform between 0 and a ceiling that doubles. If every client waited the ceiling, or a fixed part of it, the clients that lost a
 * server together would come back together.
 */
export function backoffMs(attempt, minBackoffMs, maxBackoffMs, random = Math.random) {
    return random() * Math.min(maxBackoffMs, minBackoffMs * 2 ** attempt);
}

const APART_MS = 1000;

/** Keeps tries, and calls of the token callback, a second apart. */
export class Pace {
    #begunAt = -Infinity;

    begin() {
        this.#begunAt = performance.now();
    }

    /** This wait, or a longer one, so that at least a second has passed since the last beginning. */
    wait(ms) {
        return Math.max(0, ms, this.#begunAt + APART_MS - performance.now());
    }
}
