// Who may see this tab's person: visibility, people who wait for approval, blocked people.
import { announce, attempt } from './announcer.js';
import * as directory from './directory.js';
import { nameOf } from './words.js';

const REFRESH_MS = 5000; // how often to look for new followers
const SHOWN = 20; // rows of each list; when one is answered, the next person appears
const WORDS = { everyone: 'everyone', 'followers-approved': 'those I approve', nobody: 'nobody' };
const byId = (id) => document.getElementById(id);

export class Privacy {
    #user;
    #online = 'everyone';

    constructor() {
        byId('shows-online').addEventListener('change', () => this.#set({ online: byId('shows-online').value }));
        byId('shows-seen').addEventListener('change', () => this.#set({ last_seen: byId('shows-seen').value }));
        byId('privacy').addEventListener('toggle', () => this.#refresh());
        setInterval(() => this.#refresh(), REFRESH_MS);
    }

    /** Sets the user of this page; undefined if there is none. */
    async setUser(user) {
        this.#user = user;
        // a deployment without a directory stores none of this
        const shows = user === undefined ? undefined : await directory.visibility(user).catch(() => undefined);
        if (user !== this.#user)
            return;
        byId('privacy').hidden = shows === undefined;
        if (shows)
            this.#show(shows);
        await this.#refresh();
    }

    #show({ online, last_seen }) {
        this.#online = online;
        byId('shows-online').value = online;
        byId('shows-seen').value = last_seen;
        byId('shows-seen').disabled = online === 'nobody';
        byId('privacy-words').textContent = WORDS[online];
    }

    async #set(change) {
        await attempt(byId('privacy-problem'), async () => {
            const shows = await directory.setVisibility(this.#user, change);
            this.#show(shows);
            announce(`Seen by ${WORDS[shows.online]}`);
        });
        await this.#refresh();
    }

    // While this section is closed, it shows how many people wait.
    async #refresh() {
        const user = this.#user;
        if (user === undefined || byId('privacy').hidden || document.visibilityState === 'hidden')
            return;
        const waiting = this.#online === 'followers-approved' ? await directory.waiting(user, SHOWN)
            .catch(() => undefined) : { user_ids: [], next: null };
        const blocked = byId('privacy').open ? await directory.blocked(user).catch(() => undefined) : [];
        if (user !== this.#user || !waiting || !blocked)
            return;
        byId('waiting-count').textContent =
            waiting.user_ids.length > 0 ? `${waiting.user_ids.length}${waiting.next ? '+' : ''} waiting` : '';
        await this.#list('waiting', waiting.user_ids, { Approve: directory.approve, Block: directory.block });
        await this.#list('blocked', blocked.slice(0, SHOWN), { Unblock: directory.unblock });
    }

    // Rows that stay are not touched, so that focus stays where it is.
    async #list(id, users, actions) {
        const list = byId(id);
        byId(`${id}-part`).hidden = users.length === 0;
        for (const row of [...list.children]) {
            if (!users.includes(row.user))
                row.remove();
        }

        const isListed = (user) => [...list.children].some((row) => row.user === user);
        const fresh = users.filter((user) => !isListed(user));
        const names = await Promise.all(fresh.map((user) => directory.findUser(user).then(nameOf, () => nameOf({ user_id: user }))));
        fresh.forEach((user, i) => {
            // another refresh may have finished first
            if (!isListed(user))
                list.append(this.#row(user, names[i], actions));
        });
    }

    #row(user, name, actions) {
        const row = byId('privacy-row').content.cloneNode(true).firstElementChild;
        row.user = user;
        row.firstElementChild.textContent = name;
        for (const [words, act] of Object.entries(actions)) {
            const button = document.createElement('button');
            button.className = 'quiet';
            button.textContent = words;
            button.setAttribute('aria-label', `${words} ${name}`);
            button.addEventListener('click', () => this.#answer(row, name, words, act));
            row.append(button);
        }

        return row;
    }

    async #answer(row, name, words, act) {
        await attempt(byId('privacy-problem'), async () => {
            await act(this.#user, row.user);
            byId('privacy-summary').focus();
            row.remove();
            announce(`${words}: ${name}`);
        });
        await this.#refresh();
    }
}
