using Aglow.Server.Tests;
using Microsoft.Playwright;

namespace Aglow.Browser.Tests;

/// <summary>The JavaScript client in a page of another origin than the server's.</summary>
[Collection(InOtherBrowser.Name)]
public sealed class CrossOriginTests(Browser browser)
{
    [Fact]
    public async Task A_page_of_an_allowed_origin_uses_every_way_in()
    {
        // the page and the client's files are the first server's, the calls go to the second
        var home = browser.Server.Address.GetLeftPart(UriPartial.Authority);
        await using var server = await AglowProcess.StartAsync(null, "--allowed-origins", home, "--lease-seconds", "120");
        var page = await OpenBlankAsync();
        var seen = await page.EvaluateAsync<string[]>(
            """
            async ([url]) => {
                // a worker has the content security policy of its file, which is the first server's
                delete globalThis.SharedWorker;
                const { connect, http } = await import('/client/index.js');
                const { shareTabs } = await import('/client/tabs.js');
                const heard = [];
                const late = new Promise((resolve) => setTimeout(() => resolve([...heard, 'no more']), 60_000));
                const everything = async () => {
                    const calls = http({ url, user: 41 });
                    await calls.heartbeat();
                    heard.push('call ' + (await calls.statusOf(41)).status);
                    const json = (method, body) => ({ method, headers: { 'Content-Type': 'application/json' }, body });
                    heard.push('refused ' + (await (await fetch(`${url}/status/batch`, json('POST', '{}'))).json()).title);
                    const next = (connection, user) =>
                        new Promise((resolve) => connection.watch(user, ({ status }) => status !== 'unknown' && resolve(status)));
                    const own = connect({ url, user: 42 });
                    heard.push('socket ' + await next(own, 41));
                    const shared = connect({ url, user: 43, WebSocket: shareTabs('43') });
                    heard.push('tabs ' + await next(shared, 41));
                    const events = new EventSource(`${url}/watch?users=41`);
                    heard.push('stream ' + await new Promise(
                        (resolve) => events.addEventListener('presence', ({ data }) => resolve(JSON.parse(data).users[0].status))));
                    const made = await fetch(`${url}/users`, json('POST', '{"user_name":"ann"}'));
                    heard.push(`header ${made.headers.get('Location')}`);
                    heard.push(`put ${(await fetch(`${url}/users/ann/status`, json('PUT', '{"status":"busy"}'))).status}`);
                    heard.push(`delete ${(await fetch(`${url}/users/ann`, { method: 'DELETE' })).status}`);
                    events.close();
                    await own.leave();
                    await shared.leave();
                    return heard;
                };
                return Promise.race([everything(), late]);
            }
            """,
            new[] { server.Address.GetLeftPart(UriPartial.Authority) });
        seen.ShouldBe([
            "call online", "refused Malformed request", "socket online", "tabs online", "stream online", "header /users/ann", "put 200",
            "delete 204"]);
        await page.Context.CloseAsync();
    }

    [Fact]
    public async Task A_page_of_another_origin_does_and_reads_nothing_and_hears_why_on_the_socket()
    {
        await using var server = await AglowProcess.StartAsync(null, "--allowed-origins", "https://chat.example");
        var page = await OpenBlankAsync();
        var seen = await page.EvaluateAsync<string[]>(
            """
            async ([url]) => {
                const { connect, http } = await import('/client/index.js');
                const heard = [];
                heard.push(await http({ url, user: 51 }).heartbeat().catch(({ title }) => title));
                const simple = (type, body) =>
                    fetch(`${url}/heartbeat`, { method: 'POST', mode: 'no-cors', headers: type ? { 'Content-Type': type } : {}, body })
                        .then(({ type }) => type);
                heard.push(await simple('text/plain', '{"user_id":51}'));
                heard.push(await simple('application/x-www-form-urlencoded', '{"user_id":51}'));
                heard.push(await simple('', new Blob(['{"user_id":51}'])));
                const refused = connect({ url, user: 51 });
                heard.push(await new Promise((resolve) =>
                    refused.onState((state) => state === 'refused' && resolve(`${refused.reason.title} ${refused.reason.detail}`))));
                return heard;
            }
            """,
            new[] { server.Address.GetLeftPart(UriPartial.Authority) });
        seen[..4].ShouldBe(["No answer", "opaque", "opaque", "opaque"]);
        seen[4].ShouldContain("Origin not allowed");
        (await server.Http.GetStringAsync("/status/51")).ShouldContain("\"offline\"");
        await page.Context.CloseAsync();
    }

    // A document of the shared server's origin without a content security policy, which would forbid other servers.
    private Task<IPage> OpenBlankAsync() => browser.OpenAsync(new Uri(browser.Server.Address, "/health/live"));
}
