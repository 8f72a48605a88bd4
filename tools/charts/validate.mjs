// Checks Kubernetes objects against the schemas of Kubernetes: a JSON array of objects on the input, a line for each fault on the output.
// The schemas do not refuse unknown members. The test does that with the types of the .NET client.
import { text } from 'node:stream/consumers';

for (const object of JSON.parse(await text(process.stdin))) {
    const types = await import(`kubernetes-models/${object.apiVersion}/${object.kind}`);
    try {
        new types[object.kind](object).validate();
    } catch (fault) {
        console.log(`${object.kind} ${object.metadata?.name}: ${fault.message.replaceAll('\n', ' ')}`);
    }
}
