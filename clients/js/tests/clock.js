/** Virtual time: it stands still until a test moves it. Each timer that falls due meanwhile fires at its own time. */

const real = { setTimeout, clearTimeout, setImmediate, now: performance.now.bind(performance) };

export class Clock {
    #now = 1_000_000;
    #timers = new Map(); // id → { at, callback, given }
    #lastId = 0;

    /** Replaces the timers and performance.now. */
    install() {
        globalThis.setTimeout = (callback, ms = 0, ...given) => {
            const timer = ++this.#lastId;
            this.#timers.set(timer, { at: this.#now + Math.max(0, ms), callback, given });
            return timer;
        };
        globalThis.clearTimeout = (timer) => this.#timers.delete(timer);
        performance.now = () => this.#now;
    }

    uninstall() {
        Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
        performance.now = real.now;
    }

    get now() {
        return this.#now;
    }

    /** Completes all work that needs no time. */
    async settle() {
        for (let turn = 0; turn < 4; turn++)
            await new Promise((resolve) => real.setImmediate(resolve));
        const [id, timer] = this.#next() ?? [];
        if (timer && timer.at <= this.#now) {
            this.#timers.delete(id);
            timer.callback(...timer.given);
            await this.settle();
        }
    }

    /** Lets `ms` pass, or less if `until` holds before. Returns whether it holds. */
    async pass(ms, until = () => false) {
        const end = this.#now + ms;
        await this.settle();
        while (!until()) {
            const next = this.#next()?.[1].at ?? Infinity;
            if (this.#now >= end)
                return false;
            this.#now = Math.min(next, end);
            await this.settle();
        }

        return true;
    }

    /** Lets `ms` pass while nothing runs. Timers that are due fire afterwards. */
    async jump(ms) {
        this.#now += ms;
        await this.settle();
    }

    #next() {
        let first;
        for (const entry of this.#timers) {
            if (!first || entry[1].at < first[1].at)
                first = entry;
        }

        return first;
    }
}
