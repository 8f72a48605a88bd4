using System.Collections.Concurrent;
using System.Text;

namespace Aglow.Server.Tests;

/// <summary>Commands that call a server which is another program, or which ends.</summary>
public sealed class RemoteCommandTests
{
    private const string Page = """{"changes":[],"next":"abc","gap":false}""";

    public static TheoryData<int, string> Nonsense => new()
    {
        { 200, "" }, { 200, "{}" }, { 200, "[]" }, { 200, "null" }, { 200, "1" }, { 200, "<html>" },
        { 200, """{"changes":1,"next":"abc","gap":false,"webhooks":1}""" },
        { 200, """{"changes":[],"next":1,"gap":"no","acknowledged":1}""" },
        { 404, """{"detail":7}""" }, { 503, """{"detail":[]}""" }, { 500, "null" },
    };

    [Theory]
    [MemberData(nameof(Nonsense))]
    public async Task An_answer_that_is_no_servers_is_one_line(int status, string body)
    {
        await using var other = new OtherServer(_ => (status, body));
        foreach (var command in new string[][] { ["changes"], ["webhooks", "list"], ["webhooks", "test", "wh_1"] })
        {
            var (code, _, errors) = await AglowProcess.RunToEndAsync([.. command, "--server", $"{other.Address}"]);
            // an empty answer of another call is one that a server gives
            if (code == 0 && command[0] == "webhooks")
                continue;
            code.ShouldBeInRange(1, 2, $"{command[0]} {body}");
            errors.ShouldMatch($"^aglow: .*{other.Address.Port}.*\n$", $"{command[0]} {body}");
            errors.ShouldNotContain("Exception");
        }
    }

    [Fact]
    public async Task Who_follows_a_quiet_server_goes_on_after_it_ended()
    {
        var ended = 0;
        await using var other = new OtherServer(query =>
            query.Contains("wait=", StringComparison.Ordinal) && Interlocked.Increment(ref ended) <= 2 ? (0, "") : (200, Page));
        await using var command = AglowProcess.Start("changes", "--follow", "--after", "latest", "--server", $"{other.Address}");
        // the first call does not wait, and the two that broke off are made again
        await Eventually.TrueAsync(() => Task.FromResult(other.Calls.Count > 3), 60, "it calls again");
        other.Calls.First().ShouldNotContain("wait=");
        other.Calls.First().ShouldContain("after=latest");
        other.Calls.Skip(1).ShouldAllBe(static query => query.Contains("wait=30&after=abc", StringComparison.Ordinal));
    }

    /// <summary>Some HTTP server. The status 0 breaks the connection off.</summary>
    private sealed class OtherServer : IAsyncDisposable
    {
        private readonly HttpListener _listener = new();
        private readonly Task _loop;

        public OtherServer(Func<string, (int Status, string Body)> answer)
        {
            Address = Receiver.StartOnFreePort(_listener);
            _loop = Task.Run(() => RunAsync(answer));
        }

        public Uri Address { get; }

        /// <summary>The queries of all calls, in order.</summary>
        public ConcurrentQueue<string> Calls { get; } = new();

        public async ValueTask DisposeAsync()
        {
            _listener.Close();
            await _loop;
        }

        private async Task RunAsync(Func<string, (int Status, string Body)> answer)
        {
            while (_listener.IsListening)
            {
                try
                {
                    var context = await _listener.GetContextAsync();
                    var query = context.Request.Url!.Query;
                    Calls.Enqueue(query);
                    var (status, body) = answer(query);
                    if (status == 0)
                    {
                        context.Response.Abort();
                        continue;
                    }

                    // a long poll that ends at once would be called again without end
                    if (query.Contains("wait=", StringComparison.Ordinal))
                        await Task.Delay(100);
                    context.Response.StatusCode = status;
                    await context.Response.OutputStream.WriteAsync(Encoding.UTF8.GetBytes(body));
                    context.Response.Close();
                }
                catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or InvalidOperationException)
                {
                    // closed, or the command has ended
                }
            }
        }
    }
}
