// The list of people: all people, or a search while the person types, or the people whom this person follows.
import { announce } from './announcer.js';
import * as directory from './directory.js';
import { paint } from './paint.js';
import { Person } from './person.js';
import { count, nameOf } from './words.js';

const PAGE = 100;
const TYPING_MS = 120;
const REFRESH_MS = 5000; // how often to look for new people
const AGING_MS = 5000; // how often to update "3 min ago"

const byId = (id) => document.getElementById(id);

export class People {
    #presence;
    #onWhy;
    #group;
    #followedGroup;
    #persons = new Map(); // user ID → Person, of those listed
    #order = []; // user IDs as listed
    #next = null; // the cursor of the next page
    #mode = 'everyone';
    #query = '';
    #refreshing; // the refresh that is under way
    #newest = 0; // only the newest of several answers counts
    #followed = []; // IDs of the followed users

    constructor(presence, onWhy) {
        this.#presence = presence;
        this.#onWhy = onWhy;
        this.#group = presence.group((record) => this.#persons.get(record.user_id)?.received(record));
        this.#followedGroup = presence.group((record, previous) => this.#tellOfFollowed(record, previous));
        presence.onState(() => this.#setAll());

        let typing;
        byId('query').addEventListener('input', () => {
            clearTimeout(typing);
            typing = setTimeout(() => this.#search(byId('query').value.trim()), TYPING_MS);
        });
        for (const mode of ['everyone', 'following'])
            byId(mode).addEventListener('click', () => this.#show(mode));
        byId('more').addEventListener('click', () => this.#loadMore());
        setInterval(() => this.refresh(), REFRESH_MS);
        setInterval(() => this.#persons.forEach(paint), AGING_MS);
        document.addEventListener('visibilitychange', () => this.refresh());
    }

    /** Sets the user of this page; undefined if there is none. */
    async setUser(user) {
        this.#setFollowed([]);
        byId('following').disabled = user === undefined;
        if (user === undefined && this.#mode === 'following')
            await this.#show('everyone');
        if (user !== undefined)
            this.#setFollowed(await directory.followed(user).catch(() => []));
        await this.refresh();
    }

    #show(mode) {
        this.#mode = mode;
        for (const each of ['everyone', 'following'])
            byId(each).setAttribute('aria-pressed', each === mode);
        return this.load();
    }

    async #search(query) {
        if (query === this.#query)
            return;
        this.#query = query;
        await this.load();
        byId('found').textContent = query ? `${count(this.#order.length, 'person', 'people')}${this.#next ? ' and more' : ''} found` : '';
    }

    /** Loads the first page. */
    async load() {
        const request = ++this.#newest;
        const page = await this.#read().catch((refused) => ({ refused }));
        if (request !== this.#newest)
            return;
        if (!page.refused)
            this.#list(page.users, page.next);
        this.#sayIfEmpty(page.refused);
    }

    async #loadMore() {
        const request = ++this.#newest;
        const [from, first] = [this.#next, this.#order.length];
        const page = await this.#read(from).catch(() => undefined);
        if (!page || request !== this.#newest)
            return;
        this.#list([...this.#listed(), ...page.users], page.next);
        // moves the focus to the first new person
        this.#persons.get(this.#order[first])?.element.querySelector('button').focus({ preventScroll: true });
    }

    /**
     * Reads the list again: inserts new people of the first page at their place; the people further down stay. Only one refresh runs at a
     * time, because a search costs ten calls.
     */
    refresh() {
        this.#refreshing ??= this.#lookAgain().finally(() => (this.#refreshing = undefined));
        return this.#refreshing;
    }

    async #lookAgain() {
        if (document.visibilityState === 'hidden' || this.#presence.isLost)
            return;
        const request = this.#newest;
        const page = await this.#readAgain().catch(() => undefined);
        if (!page || request !== this.#newest)
            return;
        this.#list(page.users, page.next);
        this.#sayIfEmpty();
    }

    // Reads the first page, and adds the people listed after it. If more than a page of people is new, reads as many people as before.
    async #readAgain() {
        const shown = this.#order.length;
        let { users, next } = await this.#read();
        const further = next ? this.#after(users) : [];
        if (further.length > 0)
            return { users: [...users, ...further], next: this.#next };
        while (next && users.length < shown) {
            const page = await this.#read(next);
            users = [...users, ...page.users];
            next = page.next;
        }
        return { users, next };
    }

    // The people who are listed after the last of these users.
    #after(users) {
        const fresh = new Set(users.map((user) => user.user_id));
        const last = this.#order.findLastIndex((number) => fresh.has(number));
        return last < 0 ? [] : this.#listed().slice(last + 1);
    }

    async #read(cursor) {
        if (this.#mode === 'following')
            return this.#readFollowed(cursor ?? 0);
        const page = await directory.searchUsers(this.#query, PAGE, cursor);
        // integers need no registration, so any of them can be asked for
        if (!cursor && /^(0|[1-9]\d{0,9})$/.test(this.#query) && Number(this.#query) < 2 ** 31)
            page.users.unshift({ user_id: Number(this.#query) });
        return page;
    }

    async #readFollowed(from) {
        const users = await Promise.all(this.#followed.slice(from, from + PAGE).map((user) => directory.findUser(user).catch((refused) => {
            if (refused.status === 404)
                return { user_id: user };
            throw refused;
        })));
        return {
            users: users.filter((user) => nameOf(user).toLowerCase().includes(this.#query.toLowerCase())),
            next: from + PAGE < this.#followed.length ? from + PAGE : null,
        };
    }

    #listed() {
        return this.#order.map((number) => this.#persons.get(number).user);
    }

    #list(users, next) {
        const before = this.#persons;
        this.#persons = new Map();
        for (const user of users) {
            const person = before.get(user.user_id);
            person?.rename(user);
            this.#persons.set(user.user_id, person ?? this.#newPerson(user));
        }

        const order = [...this.#persons.keys()];
        const isSame = order.length === this.#order.length && order.every((number, i) => number === this.#order[i]);
        this.#order = order;
        this.#next = next;
        byId('more').hidden = !next;
        this.#setAll();
        if (isSame)
            return;
        this.#place();
        this.#group.set(order);
    }

    #newPerson(user) {
        return new Person(user, { onWhy: this.#onWhy, onFollow: (person) => this.#toggleFollow(person) });
    }

    // Elements that stay are not touched, so that focus stays where it is.
    #place() {
        const list = byId('list');
        const stay = new Set([...this.#persons.values()].map((person) => person.element));
        for (const element of [...list.children]) {
            if (!stay.has(element))
                element.remove();
        }

        let at = list.firstElementChild;
        for (const { element } of this.#persons.values()) {
            if (element === at)
                at = at.nextElementSibling;
            else
                list.insertBefore(element, at);
        }
    }

    #setAll() {
        const { isLost, user: me } = this.#presence;
        for (const person of this.#persons.values()) {
            const isMe = me === person.user.user_id;
            person.set({ isLost, isMe, isFollowed: me === undefined || isMe ? undefined : this.#isFollowed(person.user) });
        }
    }

    #isFollowed({ user_id }) {
        return this.#followed.includes(user_id);
    }

    async #toggleFollow(person) {
        const change = person.isFollowed ? directory.unfollow : directory.follow;
        try {
            this.#setFollowed(await change(this.#presence.user, person.user.user_id));
        } catch (refused) {
            announce(refused.message);
        }
    }

    #setFollowed(users) {
        this.#followed = users;
        this.#followedGroup.set(users);
        byId('following-count').textContent = users.length || '';
        this.#setAll();
    }

    #tellOfFollowed({ user_id, is_online }, previous) {
        if (typeof is_online !== 'boolean' || typeof previous?.is_online !== 'boolean' || is_online === previous.is_online)
            return;
        const person = [...this.#persons.values()].find(({ user }) => user.user_id === user_id);
        announce(`${person?.name ?? user_id} ${is_online ? 'came online' : 'went offline'}`);
    }

    #sayIfEmpty(refused) {
        const isEmpty = this.#order.length === 0;
        const isNew = isEmpty && !refused && this.#mode === 'everyone' && !this.#query;
        byId('nobody').hidden = !isNew;
        byId('empty').hidden = !refused && (!isEmpty || isNew);
        if (refused)
            byId('empty').textContent = refused.message;
        else if (this.#query)
            byId('empty').textContent = `Nobody ${this.#mode === 'following' ? 'you follow ' : ''}is called “${this.#query}”.`;
        else
            byId('empty').textContent = 'You follow nobody yet. Click the star beside a person to follow them.';
    }
}
