// A crowd of simulated people. This browser sends packed heartbeats for them, and watches them like other users.
import { http } from '/client/index.js';
import { heartbeatPacked, leaveAtLast, leavePacked } from './directory.js';
import { paint } from './paint.js';
import { token } from './session.js';
import { count } from './words.js';

const MOST = 1000;
const KEPT = 'aglow.crowd';

// Each tab chooses a thousand of nine million user IDs that few applications use. All of them lie on the same 256 pages of the server.
const FIRST = 2_130_000_000;
const RANGES = 9000;

const SLIDE_MS = 60; // how often the page follows a dragged slider
const CHURN_MS = 200;
const CHURN = 0.05; // share of the crowd that comes or goes in a second

// dots in a row: the first count that gives each dot its least size, in pixels
const COLUMNS = [100, 50, 40, 25];
const LEAST_CELL = 6.5;

const byId = (id) => document.getElementById(id);

export class Crowd {
    #numbers;
    #inside = new Set(); // users who send heartbeats
    #outside; // the other users, the one that left first in front
    #size = 0; // the slider's value
    #group;
    #field;
    #renewal;
    #sliding;

    constructor(presence) {
        const first = Number(sessionStorage.getItem(KEPT)) || FIRST + MOST * Math.floor(Math.random() * RANGES);
        sessionStorage.setItem(KEPT, first);
        this.#numbers = Array.from({ length: MOST }, (_, i) => first + i);
        this.#outside = shuffled(this.#numbers);
        byId('crowd-range').textContent = `${first} to ${first + MOST - 1}`;
        this.#field = new Field(byId('field'), first, MOST);
        this.#group = presence.group((record) => this.#field.received(record));
        presence.onState(() => this.#field.setLost(presence.isLost));

        byId('crowd').addEventListener('input', () => {
            this.#say();
            this.#sliding ??= setTimeout(() => {
                this.#sliding = undefined;
                this.#resize(Number(byId('crowd').value));
            }, SLIDE_MS);
        });
        setInterval(() => byId('churn').checked && this.#churn(), CHURN_MS);
        addEventListener('pagehide', () => this.#inside.size > 0 && leaveAtLast([...this.#inside]));
        byId('crowd').value = 0;
        byId('churn').checked = false;
    }

    #say() {
        const size = Number(byId('crowd').value);
        byId('crowd-size').textContent = size === 0 ? 'nobody' : count(size, 'person', 'people');
        byId('crowd').setAttribute('aria-valuetext', byId('crowd-size').textContent);
    }

    #resize(size) {
        if (this.#size === 0 && size > 0) {
            byId('field').hidden = false;
            this.#group.set(this.#numbers);
        }

        this.#size = size;
        const more = size - this.#inside.size;
        if (more > 0)
            this.#bringIn(more);
        else if (more < 0)
            this.#sendOut(-more);
    }

    // Some leave, and as many who left a while ago come back.
    #churn() {
        const some = Math.ceil((this.#size * CHURN * CHURN_MS) / 2000);
        if (this.#size === 0 || this.#inside.size < some)
            return;
        this.#sendOut(some);
        const missing = this.#size - this.#inside.size;
        if (missing > this.#size * CHURN)
            this.#bringIn(some);
    }

    async #bringIn(some) {
        const coming = this.#outside.splice(0, some);
        coming.forEach((number) => this.#inside.add(number));
        await this.#attempt(async () => {
            this.#renewal ??= this.#renew();
            await this.#heartbeat(coming);
        });
    }

    async #sendOut(some) {
        const going = shuffled([...this.#inside]).slice(0, some);
        for (const number of going) {
            this.#inside.delete(number);
            this.#outside.push(number);
        }

        await this.#attempt(() => leavePacked(going));
    }

    // As often as the server asks for heartbeats.
    async #renew() {
        const { next_heartbeat_seconds } = await http({ token: token() }).heartbeat([...this.#inside].slice(0, 1)).catch(
            () => ({ next_heartbeat_seconds: 10 }));
        return setInterval(
            () => this.#inside.size > 0 && this.#attempt(() => this.#heartbeat([...this.#inside])), next_heartbeat_seconds * 1000);
    }

    async #heartbeat(numbers) {
        const accepted = await heartbeatPacked(numbers);
        if (accepted < numbers.length)
            throw new Error(`The server took ${accepted} of ${numbers.length}: its --max-user-number is lower, or its memory is full.`);
    }

    async #attempt(what) {
        const problem = byId('crowd-problem');
        try {
            await what();
            problem.hidden = true;
        } catch (failure) {
            problem.textContent = failure.message;
            problem.hidden = false;
        }
    }
}

/** One dot for each user of the crowd, coloured by the server's statuses. */
class Field {
    #canvas;
    #first;
    #length;
    #online = new Set();
    #changed = new Set(); // users whose dots must be drawn again, unless #isWhole
    #isWhole = true; // whether all dots must be drawn again
    #isLost = false;

    constructor(canvas, first, length) {
        this.#canvas = canvas;
        this.#first = first;
        this.#length = length;
        new ResizeObserver(() => this.#drawAll()).observe(canvas);
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#drawAll());
    }

    received({ user_id, is_online }) {
        if (is_online === this.#online.has(user_id))
            return;
        if (is_online)
            this.#online.add(user_id);
        else
            this.#online.delete(user_id);
        this.#changed.add(user_id);
        paint(this);
    }

    setLost(isLost) {
        if (isLost === this.#isLost)
            return;
        this.#isLost = isLost;
        this.#drawAll();
    }

    paint() {
        const canvas = this.#canvas;
        const width = canvas.clientWidth;
        if (width === 0)
            return;
        const columns = COLUMNS.find((each) => width / each >= LEAST_CELL) ?? COLUMNS.at(-1);
        const cell = width / columns;
        if (this.#isWhole)
            this.#resize(width, cell * Math.ceil(this.#length / columns));
        const pen = canvas.getContext('2d');
        const style = getComputedStyle(canvas);
        const [lit, unlit] = [style.getPropertyValue('--online'), style.getPropertyValue('--line')];
        const numbers = this.#isWhole ? Array.from({ length: this.#length }, (_, i) => this.#first + i) : this.#changed;
        for (const number of numbers) {
            const at = number - this.#first;
            const [x, y] = [(at % columns) * cell, Math.floor(at / columns) * cell];
            pen.clearRect(x, y, cell, cell);
            pen.fillStyle = this.#online.has(number) && !this.#isLost ? lit : unlit;
            pen.beginPath();
            pen.arc(x + cell / 2, y + cell / 2, cell * 0.36, 0, 2 * Math.PI);
            pen.fill();
        }

        this.#changed.clear();
        this.#isWhole = false;
        this.#describe();
    }

    #drawAll() {
        this.#isWhole = true;
        paint(this);
    }

    #resize(width, height) {
        const scale = devicePixelRatio;
        const canvas = this.#canvas;
        canvas.style.aspectRatio = `${width} / ${height}`;
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
        canvas.getContext('2d').setTransform(scale, 0, 0, scale, 0, 0);
    }

    #describe() {
        const words =
            this.#isLost ? 'Whether the crowd is online is unknown' : `${count(this.#online.size, 'person', 'people')} of the crowd online`;
        if (this.#canvas.getAttribute('aria-label') !== words)
            this.#canvas.setAttribute('aria-label', words);
    }
}

function shuffled(list) {
    for (let i = list.length - 1; i > 0; i--) {
        const other = Math.floor(Math.random() * (i + 1));
        [list[i], list[other]] = [list[other], list[i]];
    }

    return list;
}
