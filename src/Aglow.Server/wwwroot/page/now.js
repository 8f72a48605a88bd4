// How many users are online, and how fast that changes. Asks once a second while the page is visible.
import { Chart } from './chart.js';
import { countChanges, countOnline } from './directory.js';
import { learnServerTime } from './time.js';

const EVERY_MS = 1000;
const AVERAGED = 10; // seconds; single seconds vary too much
const REFUSED_MS = 60_000; // how long not to ask for what this person may not read
const DESCRIBE_MS = 15_000; // how often the chart's description is updated

const byId = (id) => document.getElementById(id);

export function showNow() {
    const chart = new Chart(byId('chart'));
    const rates = [];
    let before; // { changes, at }
    let described = -Infinity;
    let mayAskAt = -Infinity;

    async function changesSoFar() {
        if (performance.now() < mayAskAt)
            return undefined;
        try {
            return await countChanges();
        } catch (refused) {
            if (refused.status === 401 || refused.status === 403)
                mayAskAt = performance.now() + REFUSED_MS;
            return undefined;
        }
    }

    async function look() {
        if (document.visibilityState === 'hidden')
            return;
        const [{ online, as_of }, changes] = await Promise.all([countOnline(), changesSoFar()]);
        learnServerTime(as_of);
        byId('count').textContent = online.toLocaleString('en');
        const at = performance.now();
        if (before && changes !== undefined) {
            // a restarted server counts from 0
            const rate = (Math.max(0, changes - before.changes) * 1000) / (at - before.at);
            rates.push(rate);
            rates.splice(0, rates.length - AVERAGED);
            byId('rate').textContent = (rates.reduce((sum, each) => sum + each, 0) / rates.length).toFixed(1);
            chart.add(online, rate);
        }

        before = { changes, at };
        if (at - described > DESCRIBE_MS) {
            described = at;
            byId('chart').setAttribute(
                'aria-label', `Over the last two minutes: ${online} online now, ${byId('rate').textContent} changes a second`);
        }
    }

    const again = () => look().catch(() => (byId('count').textContent = byId('rate').textContent = '–'));
    setInterval(again, EVERY_MS);
    return again();
}
