/**
 * The token of a connection. The server closes a connection when its token ends. So if tokens come from a callback, the client gets a new
 * one and sends it before that.
 *
 *     welcome, or the answer to a new token, with expires_in_seconds ─► wait ─► callback ─► new token ─► server
 *                                                                       ▲          │
 *                                                                       └──────────┘ an error, or the same token
 */
import { tokenOf } from './server.js';

const RENEW_BEFORE_MS = 30_000; // how long before its end a token is renewed, or at half of its time if that is later
const LEAST_RENEWAL_MS = 5000;
const MAX_REFUSALS = 3; // of tokens from a callback: one of them may have been about to end
const LONGEST_TIMER_MS = 0x7fffffff;

export class Tokens {
    #options;
    #pace;
    #requests;
    #report;
    #refusals = 0; // refused tokens since the last welcome
    #endsAt;
    #timer; // of the next renewal
    #renewal; // the current renewal; results of an older one are ignored

    /** The token that was last sent. */
    last;

    constructor(options, pace, requests, report) {
        this.#options = options;
        this.#pace = pace;
        this.#requests = requests;
        this.#report = report;
    }

    get isCallback() {
        return typeof this.#options.token === 'function';
    }

    /** Takes a token for a try; false if the server has just refused it. */
    take(token) {
        const isRefused = this.#refusals > 0 && token === this.last;
        this.last = token;
        return !isRefused;
    }

    /** The server accepts the token, or somebody has signed in again. */
    accept() {
        this.#refusals = 0;
    }

    /** The server refuses the token. Returns whether another one may be accepted. */
    refuse() {
        return this.isCallback && ++this.#refusals < MAX_REFUSALS;
    }

    /** A message of the server, which may say when the token ends. */
    receive({ expires_in_seconds: left }) {
        clearTimeout(this.#timer);
        if (left === undefined)
            return;
        this.#endsAt = performance.now() + left * 1000;
        this.#renewIn(Math.max(left * 1000 - RENEW_BEFORE_MS, left * 500));
    }

    renewNow() {
        this.#renewIn(0);
    }

    /** The connection is lost. */
    stop() {
        clearTimeout(this.#timer);
        this.#renewal = undefined;
    }

    #renewIn(waitMs) {
        clearTimeout(this.#timer);
        if (this.isCallback)
            this.#timer = setTimeout(() => this.#renew(), Math.min(this.#pace.wait(waitMs), LONGEST_TIMER_MS));
    }

    async #renew() {
        const renewal = (this.#renewal = {});
        const later = () => {
            const leftMs = this.#endsAt - performance.now();
            if (leftMs > 0)
                this.#renewIn(Math.max(leftMs / 2, LEAST_RENEWAL_MS));
        };
        this.#pace.begin();
        try {
            const token = await tokenOf(this.#options);
            if (renewal !== this.#renewal)
                return;
            // an application may return the old token while it is valid
            if (token === this.last)
                later();
            else
                this.#requests.send({ type: 'token', token: (this.last = token) }, (answer) => answer?.type === 'token' || later());
        } catch (mistake) {
            if (renewal !== this.#renewal)
                return;
            const detail = `${mistake.message}. This connection ends when its token does; then it is tried again.`;
            this.#report({ title: 'No new token', detail });
            later();
        }
    }
}
