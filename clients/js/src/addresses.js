/** The addresses of one server. Clients know several if no balancer is in front of its nodes; one is in use at a time. */

/**
 * The address of one of the server's paths. The server itself may be below a path. The result is text, because React Native's URL objects
 * cannot be changed.
 */
export function addressOf(url, path, query = {}) {
    const base = String(url ?? globalThis.location?.origin ?? '');
    if (!/^https?:\/\/[^/]/i.test(base))
        throw new TypeError(`"url" is ${base ? `"${base}"` : 'missing'}: give the server's address, such as https://presence.example.`);
    const members = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = members.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
    return base.replace(/[?#].*/, '').replace(/\/*$/, path) + (search && `?${search}`);
}

export class Addresses {
    #urls;
    #used = 0;

    /** One address or a list of them. Without any, a browser uses the page's own origin. Throws TypeError for a wrong address. */
    constructor(url) {
        const urls = [url].flat();
        this.#urls = urls.length > 0 ? urls : [undefined];
        for (const one of this.#urls)
            addressOf(one, '');
    }

    get used() {
        return this.#urls[this.#used];
    }

    get count() {
        return this.#urls.length;
    }

    /** Goes on to the next address, and after the last to the first. Does nothing if this address is no longer in use. */
    leave(url) {
        if (url === this.used)
            this.#used = (this.#used + 1) % this.count;
    }
}
