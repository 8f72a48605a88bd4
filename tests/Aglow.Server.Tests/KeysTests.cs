using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Aglow.Server.Tests;

/// <summary>Keys of backends: <c>./aglow keys</c> creates them, and a running server accepts them.</summary>
public partial class KeysTests
{
    [Fact]
    public async Task A_key_is_shown_once_kept_as_a_hash_and_revoked_while_the_server_runs()
    {
        await using var server = await AglowProcess.StartAsync(null, Token.ServerFlags);
        // created while the server runs
        var key = await TokenServer.AddKeyAsync(server.Folder, "gateway", "heartbeat,read");
        key.ShouldMatch("^aglow_[A-Za-z0-9_-]{8}_[A-Za-z0-9_-]{43}$");
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "POST", "/heartbeat", """{"user_ids":[1,2,3]}""")).Status == 200, 60,
            "a running server takes a new key");
        (await server.CallAsync(key, "GET", "/status/1")).Json["status"]!.GetValue<string>().ShouldBe("online");
        (await server.CallAsync(key, "DELETE", "/users/1")).ShouldBeProblem(403, "lacks the scope \"users\"");

        var file = Path.Combine(server.Folder, "keys.json");
        (await File.ReadAllTextAsync(file)).ShouldNotContain(key[15..]);
        if (!OperatingSystem.IsWindows())
            File.GetUnixFileMode(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var (code, output, _) = await AglowProcess.RunToEndAsync(["keys", "list", "--data", server.Folder]);
        code.ShouldBe(0);
        output.ShouldStartWith("gateway  heartbeat,read  20");
        output.ShouldNotContain(key[15..]);

        // a name belongs to one key
        (code, output, var errors) = await AglowProcess.RunToEndAsync(
            ["keys", "add", "--data", server.Folder, "--name", "gateway", "--scope", "read"]);
        code.ShouldBe(2);
        output.ShouldBeEmpty();
        errors.ShouldContain("there is a key \"gateway\" already");

        // a revocation also ends a socket that the key opened
        await using var socket = await RawSocket.HandshakeAsync(server.Address, "/ws?user_id=7", $"Authorization: Bearer {key}\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (code, _, _) = await AglowProcess.RunToEndAsync(["keys", "revoke", "--data", server.Folder, "--name", "gateway"]);
        code.ShouldBe(0);
        // also on a connection that has used the key
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "POST", "/heartbeat", """{"user_id":1}""")).Status == 401, 60,
            "a revoked key is refused");
        await Should.ThrowAsync<Exception>(async () =>
        {
            while (true)
                await socket.ReadMessageAsync();
        });
        (code, _, errors) = await AglowProcess.RunToEndAsync(["keys", "revoke", "--data", server.Folder, "--name", "gateway"]);
        code.ShouldBe(2);
        errors.ShouldContain("there is no key \"gateway\"");
    }

    [Fact]
    public async Task Keys_may_be_a_secret_that_Kubernetes_mounts_and_replaces()
    {
        // the kubelet's layout: keys.json → ..data/keys.json, and ..data → a folder for each version
        var folder = AglowProcess.NewFolder();
        var key = await TokenServer.AddKeyAsync(Path.Combine(folder, "..first"), "gateway", "read");
        Directory.CreateSymbolicLink(Path.Combine(folder, "..data"), "..first");
        File.CreateSymbolicLink(Path.Combine(folder, "keys.json"), "..data/keys.json");
        await using (var server = await AglowProcess.StartAsync(folder, Token.ServerFlags))
        {
            (await server.CallAsync(key, "GET", "/status/1")).Status.ShouldBe(200);
            var newer = await TokenServer.AddKeyAsync(Path.Combine(folder, "..second"), "gateway", "read");
            Directory.CreateSymbolicLink(Path.Combine(folder, "..next"), "..second");
            Rename(Path.Combine(folder, "..next"), Path.Combine(folder, "..data")).ShouldBe(0);
            await Eventually.TrueAsync(
                async () => (await server.CallAsync(newer, "GET", "/status/1")).Status == 200, 60, "the new file is read");
            (await server.CallAsync(key, "GET", "/status/1")).Status.ShouldBe(401);
        }

        Directory.Delete(folder, recursive: true);
    }

    // Replaces the link atomically. .NET refuses to move a link to a folder over another link.
    [LibraryImport("libc", EntryPoint = "rename", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename(string from, string to);

    [Fact]
    public async Task Calls_beyond_the_rate_get_429_and_others_go_on()
    {
        await using var server = await AglowProcess.StartAsync(
            null, [.. Token.ServerFlags, "--rate-limit", "5", "--rate-limit-registrations", "3", "--max-connections-per-address", "50"]);
        var fast = Token.Of("fast");
        // the first call registers the user, and is the only one to do so
        (await server.CallAsync(fast, "POST", "/heartbeat")).Status.ShouldBe(200);
        // at once: one after another, a slow machine would make no more than the limit lets through
        var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => server.CallAsync(fast, "POST", "/heartbeat")));
        answers.Count(static a => a.Status == 200).ShouldBeGreaterThanOrEqualTo(5);
        var refused = answers.First(static a => a.Status != 200).ShouldBeProblem(429, "5 calls a second");
        refused.Headers.RetryAfter!.Delta.ShouldBe(TimeSpan.FromSeconds(1));
        (await server.CallAsync(Token.Of("slow"), "POST", "/heartbeat")).Status.ShouldBe(200);

        var key = await TokenServer.AddKeyAsync(server.Folder, "importer", "heartbeat,operate");
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "POST", "/heartbeat", """{"user_ids":["a","b"]}""")).Status == 200, 60,
            "a new key is taken");
        // known users are not registrations
        (await server.CallAsync(key, "POST", "/heartbeat", """{"user_ids":["a","b"]}""")).Status.ShouldBe(200);
        var many = string.Join(',', Enumerable.Range(0, 6).Select(static i => $"\"new-{i}\""));
        var registrations = await Task.WhenAll(Enumerable.Range(0, 4).Select(
            i => server.CallAsync(key, "POST", "/heartbeat", $$"""{"user_ids":[{{many.Replace("new", $"new-{i}")}}]}""")));
        registrations.Select(static a => a.Status).ShouldContain(429);

        // connections that send nothing
        var open = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 60; i++)
            {
                open.Add(new TcpClient());
                try
                {
                    await open[^1].ConnectAsync(server.Address.Host, server.Address.Port);
                }
                catch (SocketException)
                {
                    // closed before it was noticed that it was open
                }
            }

            // a silent connection is closed after a while, too, but only those beyond the limit are counted
            await Eventually.TrueAsync(
                async () => double.Parse((await server.CallAsync(key, "GET", "/metrics")).Text
                    .Split("\naglow_tcp_connections_refused_total ")[1].Split('\n')[0]) >= 10,
                60,
                "those beyond the limit are refused");
            await Eventually.TrueAsync(
                () => Task.FromResult(open.Count(static c => !c.Connected || c.Client.Poll(0, SelectMode.SelectRead)) >= 10),
                60,
                "those beyond the limit are closed");
        }
        finally
        {
            open.ForEach(static c => c.Dispose());
        }
    }
}
