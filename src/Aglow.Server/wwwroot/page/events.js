// Reads an event stream by fetch. EventSource cannot send a header, so a token would have to be in the URL, which logs and histories keep.
import { headers } from './session.js';

/** Yields the events of a stream, `{ type, data }`, until it ends. Throws if it is refused, breaks, or `signal` ends it. */
export async function* eventsOf(url, signal) {
    const answer = await fetch(url, { headers: { Accept: 'text/event-stream', ...headers() }, cache: 'no-store', signal });
    if (!answer.ok)
        throw Object.assign(new Error(`The server answered ${answer.status}.`), { status: answer.status });
    let rest = '';
    let event = { type: 'message', data: [] };
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
        const { done, value } = await reader.read();
        if (done)
            return;
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines) {
            const [, field, content] = /^([^:\r]*)(?:: ?)?(.*?)\r?$/.exec(line);
            if (field === 'event')
                event.type = content;
            else if (field === 'data')
                event.data.push(content);
            else if (field === '' && content === '' && !line.startsWith(':')) {
                if (event.data.length > 0)
                    yield { type: event.type, data: event.data.join('\n') };
                event = { type: 'message', data: [] };
            }
        }
    }
}
