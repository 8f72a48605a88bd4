/**
 * Requests to the server over the socket, and their answers. Each message has an ID, which its answer repeats.
 *
 *     send ─► waiting ─ answer ─► callback(answer)
 *               │
 *               └─ the server dropped it (429, 503, an error without an id) ─ next tick ─► callback(undefined): send again
 *
 * Holds messages of this connection only. Callers know which ones to send again on the next connection.
 */
export class Requests {
    #send;
    #lastId = 0;
    #waiting = new Map(); // id → callback
    #dropped = []; // callbacks
    #mayBeDropped = false;

    constructor(send) {
        this.#send = send;
    }

    /** Sends a message. The callback gets its answer, or undefined if the server dropped it and it must be sent again. */
    send(message, answered) {
        const id = ++this.#lastId;
        this.#waiting.set(id, answered);
        this.#send({ ...message, id });
    }

    /** Handles a message of the server; false if it answers no message. */
    receive(message) {
        const answered = this.#waiting.get(message.id);
        if (!answered) {
            this.#mayBeDropped ||= message.type === 'error' && message.id === undefined;
            return false;
        }

        this.#waiting.delete(message.id);
        if (message.type === 'error' && (message.status === 429 || message.status === 503))
            this.#dropped.push(answered);
        else
            answered(message);
        return true;
    }

    /** A tick: callbacks of dropped messages run now. An error without an id may be about any message without an answer. */
    tick() {
        const again = this.#dropped;
        this.#dropped = [];
        if (this.#mayBeDropped) {
            again.push(...this.#waiting.values());
            this.#waiting.clear();
        }

        this.#mayBeDropped = false;
        again.forEach((answered) => answered());
    }

    /** The connection is lost. */
    clear() {
        this.#waiting.clear();
        this.#dropped = [];
        this.#mayBeDropped = false;
    }
}
