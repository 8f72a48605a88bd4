/** A WebSocket whose other end is a scenario. */
import assert from 'node:assert/strict';

export class ScriptedSocket {
    readyState = 0;
    sent = [];
    isMuted = false;
    #listeners = { open: [], message: [], close: [], error: [] };

    constructor(address, protocols) {
        this.url = new URL(address);
        this.protocols = protocols;
    }

    addEventListener(kind, listener) {
        this.#listeners[kind].push(listener);
    }

    send(text) {
        assert.equal(this.readyState, 1, 'a message is sent on a socket that is not open');
        if (!this.isMuted)
            this.sent.push(JSON.parse(text));
    }

    // As in browsers, the close event comes after the server's answer, and never from a silent server.
    close(code = 1005) {
        if (this.readyState >= 2)
            return;
        this.readyState = 2;
        this.closedWith = code;
        if (!this.isMuted)
            setTimeout(() => this.end(code));
    }

    emit(kind, event = {}) {
        this.#listeners[kind].forEach((listener) => listener(event));
    }

    open() {
        this.readyState = 1;
        this.emit('open');
    }

    end(code, reason = '') {
        if (this.readyState === 3)
            return;
        this.readyState = 3;
        if (code === 1006)
            this.emit('error');
        this.emit('close', { code, reason });
    }
}
