// An event stream read by fetch rather than by EventSource, which can send no header: a token would have to be in the address, where logs and histories keep it.
import { headers } from './session.js';

/** The events of a stream, `{ type, data }`, as they come, until it ends; throws where it is refused, breaks, or `signal` ends it. */
export async function* eventsOf(url, signal) {
    const answer = await fetch(url, { headers: { Accept: 'text/event-stream', ...headers() }, cache: 'no-store', signal });
    if (!answer.ok)
        throw new Error(`${answer.status}`);
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
