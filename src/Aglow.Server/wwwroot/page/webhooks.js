// The server's webhooks and their newest requests. app.js loads this if there are any, for callers who may operate the server.
import { listWebhooks, webhookLog } from './directory.js';
import { clockTime, lasting } from './time.js';

const EVERY_MS = 5000;

const byId = (id) => document.getElementById(id);
const template = byId('webhook');
const shown = new Map(); // webhook ID -> its element

async function look() {
    if (document.visibilityState === 'hidden')
        return;
    const { webhooks } = await listWebhooks();
    for (const [id, element] of shown) {
        if (!webhooks.some((webhook) => webhook.id === id)) {
            element.remove();
            shown.delete(id);
        }
    }

    for (const webhook of webhooks)
        await show(webhook);
    byId('webhooks-card').hidden = shown.size === 0;
}

async function show(webhook) {
    let element = shown.get(webhook.id);
    if (!element) {
        element = template.content.cloneNode(true).firstElementChild;
        element.addEventListener('toggle', () => element.open && showLog(webhook.id, element));
        shown.set(webhook.id, element);
        byId('webhooks').append(element);
    }

    element.querySelector('.webhook-url').textContent = webhook.url;
    element.querySelector('.webhook-state').textContent = stateOf(webhook);
    if (element.open)
        await showLog(webhook.id, element);
}

function stateOf(webhook) {
    if (webhook.paused)
        return webhook.paused_for ? `paused: ${webhook.paused_for}` : 'paused';
    if (webhook.failing_since)
        return `failing since ${clockTime(webhook.failing_since)}`;
    return webhook.lag_seconds > 0 ? `${lasting(webhook.lag_seconds)} behind` : `${webhook.delivered.toLocaleString('en')} delivered`;
}

async function showLog(id, element) {
    const { deliveries } = await webhookLog(id);
    element.querySelector('tbody').replaceChildren(...deliveries.toReversed().map((delivery) => {
        const row = document.createElement('tr');
        const result = delivery.acknowledged ? 'acknowledged' : delivery.error;
        for (const text of [clockTime(delivery.at), delivery.changes, result, `${delivery.milliseconds}\u00a0ms`])
            row.insertCell().textContent = text;
        return row;
    }));
}

// fails silently, because link.js shows that the server does not answer
const again = () => look().catch(() => {});
setInterval(again, EVERY_MS);
again();
