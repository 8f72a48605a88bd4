using System.Diagnostics;
using System.Net.Sockets;

namespace Aglow.Server.Tests;

/// <summary>The process: its settings, its one clear line on an error, its start and its end.</summary>
public class ProcessTests
{
    private const int Terminate = 15;
    private const int Interrupt = 2;

    [Theory]
    [InlineData(Terminate)]
    [InlineData(Interrupt)]
    public async Task A_stop_is_orderly_and_everything_is_there_again(int signal)
    {
        var folder = AglowProcess.NewFolder();
        string left, online;
        // the lease outlasts the slowest start
        string[] flags = ["--lease-seconds", "600"];
        await using (var server = await AglowProcess.StartAsync(folder, flags))
        {
            await server.PostAsync("/heartbeat", """{"user_ids":[1,2,"bob"],"active":true}""");
            await server.PostAsync("/offline", """{"user_id":2}""");
            await server.PutAsync("/users/1/status", """{"status":"busy"}""");
            await server.PostAsync("/users/1/subscriptions", """{"user_ids":[2,"bob"]}""");
            (left, online) = ((await server.GetAsync("/status/2")).Text, (await server.GetAsync("/status/users?ids=1,bob")).Text);
            server.Signal(signal);
            (await server.ExitAsync()).ShouldBe(0);
            server.Errors.ShouldBeEmpty();
        }

        await using (var again = await AglowProcess.StartAsync(folder, flags))
        {
            (await again.GetAsync("/status/2")).Text.ShouldBe(left);
            (await again.GetAsync("/status/users?ids=1,bob")).Text.ShouldBe(online);
            (await again.GetAsync("/users/1/subscriptions")).ShouldBeJson("""{"user_ids":[2,"bob"]}""");
            again.Output.ShouldContain("3 users");
            again.Output.ShouldNotContain("dbug");
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Signals_again_and_again_change_nothing()
    {
        var folder = AglowProcess.NewFolder();
        await using (var server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600"))
        {
            await server.PostPackedAsync("/heartbeat", [.. Enumerable.Range(0, 100_000).Select(static u => (uint)u)]);
            for (var i = 0; i < 5; i++)
                server.Signal(i % 2 == 0 ? Terminate : Interrupt);
            (await server.ExitAsync()).ShouldBe(0);
        }

        await using (var again = await AglowProcess.StartAsync(folder, "--lease-seconds", "600"))
            (await again.GetAsync("/online/count")).Json["online"]!.GetValue<int>().ShouldBe(100_000);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_request_in_flight_is_answered_before_the_end()
    {
        await using var server = await AglowProcess.StartAsync();
        using var client = new TcpClient();
        await client.ConnectAsync(server.Address.Host, server.Address.Port);
        var stream = client.GetStream();
        // Kestrel closes connections whose body arrives with less than 240 bytes a second: these spaces last for over a minute
        var spaces = Encoding.ASCII.GetBytes(new string(' ', 20_000));
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {spaces.Length + 13}\r\n"
                + "Expect: 100-continue\r\n\r\n"));
        // the call has begun once the server asks for the body
        var asked = new byte[1024];
        Encoding.ASCII.GetString(asked, 0, await stream.ReadAsync(asked)).ShouldStartWith("HTTP/1.1 100");
        await stream.WriteAsync(spaces);
        server.Signal(Terminate);
        await Eventually.TrueAsync(() => Task.FromResult(IsClosed(server.Address)), 30, "no new connections are taken");
        await stream.WriteAsync("{\"user_id\":1}"u8.ToArray());
        using var answer = new MemoryStream();
        await stream.CopyToAsync(answer);
        Encoding.ASCII.GetString(answer.ToArray()).ShouldStartWith("HTTP/1.1 200");
        (await server.ExitAsync()).ShouldBe(0);
    }

    [Fact]
    public async Task Connections_over_the_limit_are_closed_and_others_are_served_when_there_is_room_again()
    {
        await using var server = AglowProcess.Run(folder: null, flags: [], descriptors: 1000);
        await server.ReadyAsync();
        (await server.GetAsync("/metrics")).Text.ShouldContain("aglow_tcp_connections_limit 488\n");
        var slow = new List<TcpClient>();
        string[] beginnings = ["", "GET /status/1 HTTP/1.1\r\nHost: a\r\nX-Never: "];
        for (var i = 0; i < 3000; i++)
        {
            var client = new TcpClient { NoDelay = true };
            slow.Add(client);
            try
            {
                await client.ConnectAsync(server.Address.Host, server.Address.Port);
                await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(beginnings[i % beginnings.Length]));
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                // over the limit, and closed already
            }
        }

        // the server still serves the connection that called before
        (await server.PostAsync("/heartbeat", """{"user_id":1}""")).Status.ShouldBe(200);
        foreach (var client in slow)
            client.Dispose();
        await Eventually.TrueAsync(() => IsServedAsync(server), 30, "a new connection is served");
        (await server.StopAsync()).ShouldBe(0);
        server.Output.Split('\n').Length.ShouldBeLessThan(50);

        static async Task<bool> IsServedAsync(AglowProcess server)
        {
            using var newcomer = server.Client();
            try
            {
                return (await newcomer.GetStringAsync("/status/1")).Contains("online", StringComparison.Ordinal);
            }
            catch (HttpRequestException)
            {
                return false;
            }
        }
    }

    [Fact]
    public async Task Who_asks_for_a_little_is_answered_however_many_ask_for_much_and_do_not_read_it()
    {
        // 320 MB of objects, of which large calls may use 64; all of these calls would use 400
        await using var server = AglowProcess.Run(folder: null, flags: [], new() { ["DOTNET_GCHeapHardLimit"] = "14000000" });
        await server.ReadyAsync();
        var body = new byte[4_000_000];
        var beginning = Encoding.ASCII.GetBytes(
            $"POST /status/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: {body.Length}\r\n\r\n");
        var slow = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 100; i++)
                slow.Add(new TcpClient { NoDelay = true, ReceiveBufferSize = 2048 });
            // 25 at once: the server does not keep an answer for long that nobody reads, so that a slow machine would not have many
            var heads = new List<string>();
            foreach (var some in slow.Chunk(25))
                heads.AddRange(await Task.WhenAll(some.Select(CallAsync)));

            heads.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ShouldBe(["HTTP/1.1 200", "HTTP/1.1 503"]);
            using var newcomer = server.Client();
            (await newcomer.PostAsync("/heartbeat", new StringContent("""{"user_id":1}""", Encoding.UTF8, "application/json")))
                .IsSuccessStatusCode.ShouldBeTrue();
            (await newcomer.GetStringAsync("/metrics")).ShouldContain("aglow_calls_bytes_budget 67108864\n");
        }
        finally
        {
            foreach (var client in slow)
                client.Dispose();
        }

        async Task<string> CallAsync(TcpClient client)
        {
            await client.ConnectAsync(server.Address.Host, server.Address.Port);
            await client.GetStream().WriteAsync(beginning);
            await client.GetStream().WriteAsync(body);
            var head = new byte[12];
            await client.GetStream().ReadExactlyAsync(head);
            return Encoding.ASCII.GetString(head);
        }
    }

    [Fact]
    public async Task A_socket_is_heard_however_many_others_keep_messages_that_are_not_whole()
    {
        // Incomplete messages may use 64 MB, and these would use 75. The server checks connections only once a minute, so none closes for
        // another reason.
        await using var server = AglowProcess.Run(
            folder: null, flags: ["--lease-seconds", "180", "--heartbeat-seconds", "60"],
            new() { ["DOTNET_GCHeapHardLimit"] = "14000000" });
        await server.ReadyAsync();
        var slow = new List<RawSocket>();
        try
        {
            foreach (var some in Enumerable.Range(0, 1200).Chunk(100))
                slow.AddRange(await Task.WhenAll(some.Select(user => RawSocket.OpenAsync(server.Address, $"{user}"))));
            var fragment = RawSocket.Frame(0x1, new byte[62_500], final: false);
            foreach (var socket in slow)
                await socket.WriteAsync(fragment);

            (await await Task.WhenAny(slow.Select(static socket => socket.ReadCloseAsync()))).ShouldBe(1013);
            await using var newcomer = await RawSocket.OpenAsync(server.Address, "5000");
            await newcomer.SendAsync("""{"type":"watch","users":[5000]}""");
            (await newcomer.ReadPresenceAsync()).ShouldBe("5000:online");
            using var client = server.Client();
            var metrics = await client.GetStringAsync("/metrics");
            long Gauge(string name) =>
                long.Parse(metrics.Split('\n').Single(line => line.StartsWith($"{name} ", StringComparison.Ordinal))[name.Length..]);
            Gauge("aglow_calls_bytes_budget").ShouldBe(64 << 20);
            Gauge("aglow_calls_bytes").ShouldBeInRange(60 << 20, 64 << 20);
            (await server.StopAsync()).ShouldBe(0);
        }
        finally
        {
            foreach (var socket in slow)
                socket.Abort();
        }
    }

    [Theory]
    [InlineData("text")]
    [InlineData("json")]
    public async Task What_strangers_send_does_not_fill_the_log(string format)
    {
        await using var server = AglowProcess.Run(folder: null, flags: ["--log-format", format]);
        await server.ReadyAsync();
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < 60; i++)
        {
            await using var client = await RawSocket.ConnectAsync(server.Address);
            // A chunked body, read or not, whose trailer is not text. Kestrel logs an error of two kilobytes for it.
            await client.WriteAsync([
                .. Encoding.ASCII.GetBytes(
                    $"POST {new[] { "/heartbeat", "/users/1/subscriptions", "/nope" }[i % 3]} HTTP/1.1\r\nHost: a\r\nContent-Type: "
                        + $"application/json\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{{\"user_id\":1}}\r\n0\r\nX: "),
                0xE9, .. "\r\n\r\n"u8]);
            (await client.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 40");
            // the server cannot continue on such a connection
            (await client.IsEndedAsync()).ShouldBeTrue();
        }

        (await server.StopAsync()).ShouldBe(0);
        // a machine that is so busy that the server stalls is no stranger's work
        var lines = server.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Count(
            static line => !line.Contains(" info: ") && !line.Contains("\"LogLevel\":\"Information\"")
                && !line.Contains("This process was paused"));
        // ten lines a minute, and one that counts the omitted ones, however long this took
        lines.ShouldBeLessThanOrEqualTo(11 * (1 + (int)Stopwatch.GetElapsedTime(began).TotalMinutes));
    }

    [Fact]
    public async Task A_folder_is_one_servers()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "600");
        await server.PostAsync("/heartbeat", """{"user_id":1}""");
        await ShouldFailAsync(1, $"in use by process {server.Id}", "serve", "--urls", "http://127.0.0.1:0", "--data", server.Folder);
        (await server.StatusOfAsync("1")).ShouldBe("online");
    }

    [Theory]
    [InlineData("presence.db")]
    [InlineData("users.db")]
    public async Task A_foreign_file_is_not_touched(string name)
    {
        var folder = AglowProcess.NewFolder();
        var file = Path.Combine(folder, name);
        await File.WriteAllTextAsync(file, "something that somebody else needs\n" + new string('x', 10_000));
        var before = await File.ReadAllBytesAsync(file);
        await ShouldFailAsync(1, name, "serve", "--urls", "http://127.0.0.1:0", "--data", folder);
        (await File.ReadAllBytesAsync(file)).ShouldBe(before);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_port_in_use_is_said()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;
        var folder = AglowProcess.NewFolder();
        await ShouldFailAsync(1, $"{port}", "serve", "--urls", $"http://127.0.0.1:{port}", "--data", folder);
        Directory.Delete(folder, recursive: true);
    }

    public static TheoryData<string, string[]> Wrong => new()
    {
        { "See aglow webhooks add --help.", ["webhooks", "add"] },
        { "See aglow keys revoke --help.", ["keys", "revoke", "a", "b"] },
        { "set a whole number up to 2147483647", ["serve", "--lease-seconds", "99999999999"] },
        { "--nope", ["serve", "--nope"] },
        { "--nope", ["serve", "--nope", "1"] },
        { "extra", ["serve", "extra"] },
        { "lease-seconds", ["serve", "--lease-seconds", "x"] },
        { "lease-seconds", ["serve", "--lease-seconds", "1.5"] },
        { "lease-seconds", ["serve", "--lease-seconds", "-5"] },
        { "lease-seconds", ["serve", "--lease-seconds"] },
        { "demo is 5001", ["serve", "--demo", "5001"] },
        { "--demo", ["serve", "--demo", "many"] },
        { "two heartbeat intervals", ["serve", "--lease-seconds", "15"] },
        { "heartbeat-seconds", ["serve", "--heartbeat-seconds", "0"] },
        { "set at most 15", ["serve", "--socket-ping-seconds", "16"] },
        { "max-user-number", ["serve", "--max-user-number", "2147483648"] },
        { "max-user-number", ["serve", "--max-user-number", "-1"] },
        { "--urls", ["serve", "--urls", "nonsense"] },
        { "--urls", ["serve", "--urls", "ftp://127.0.0.1:1"] },
        { "--urls", ["serve", "--urls", "http://127.0.0.1:99999"] },
        { "--urls", ["serve", "--urls", "http://127.0.0.1:80x"] },
        { "--urls", ["serve", "--urls", ""] },
        { "--auth", ["serve", "--auth", "sesame"] },
        { "set --auth token, or listen on 127.0.0.1, or set --allow-open", ["serve", "--urls", "http://0.0.0.0:0"] },
        { "set --auth token, or listen on 127.0.0.1, or set --allow-open",
            ["serve", "--urls", "http://127.0.0.1:0,http://[::]:0", "--auth", "open"] },
        { "for --auth token", ["serve", "--jwt-issuer", "me"] },
        { "set one of them",
            [
                "serve", "--auth", "token", "--jwt-secret", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "--jwt-authority", "https://a.example",
            ] },
        { "--jwt-secret is not valid: it holds 3 bytes: set at least 32", ["serve", "--auth", "token", "--jwt-secret", "AAAA"] },
        { "--jwt-secret is not valid: set base64", ["serve", "--auth", "token", "--jwt-secret", "not base64!"] },
        { "--jwt-authority", ["serve", "--auth", "token", "--jwt-authority", "http://issuer.example"] },
        { "--rate-limit", ["serve", "--rate-limit", "-1"] },
        { "--page", ["serve", "--page", "no"] },
        { "--scope", ["keys", "add", "--name", "a"] },
        { "\"write\" is not a scope", ["keys", "add", "--data", "/nowhere/aglow", "--name", "a", "--scope", "read,write"] },
        { "'--overlap-hours' as a whole number", ["webhooks", "rotate", "--overlap-hours", "x", "abc"] },
        { "--data is empty: name a folder", ["keys", "list", "--data", ""] },
        { "--data is empty: name a folder", ["backup", "/nowhere/aglow", "--data", ""] },
        { "--data is empty: name a folder", ["check", "--data", ""] },
        { "--data is empty: name a folder", ["serve", "--data", ""] },
        { "--secrets is empty: name a folder", ["serve", "--secrets", ""] },
        { "--settings is empty: name a file", ["serve", "--settings", ""] },
        { "--file is empty: name a file", ["keys", "add", "--name", "a", "--scope", "read", "--data", "/nowhere/aglow", "--file", ""] },
        { "DIR is empty: name a folder", ["backup", ""] },
        { "the key contains a character that no key has", ["changes", "--key", "a\nb"] },
        { "the key contains a character that no key has", ["webhooks", "list", "--key", "ü"] },
        { "\"frobnicate\" is not a command", ["frobnicate"] },
        { "\"--frobnicate\" is not a command. See aglow webhooks --help.", ["webhooks", "--frobnicate"] },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public Task Wrong_usage_is_one_line_and_code_2(string says, string[] arguments) => ShouldFailAsync(2, says, arguments);

    [Theory]
    [InlineData("AGLOW_LEASE_SECONDS", "soon")]
    [InlineData("AGLOW_URLS", "soon")]
    [InlineData("AGLOW_DEFINITIONS__active__PULSE_SECONDS", "soon")]
    [InlineData("AGLOW_DEFINITIONS__Bad Name__PULSE_SECONDS", "60")]
    public async Task Wrong_variables_are_one_line_and_code_2(string name, string value)
    {
        var (code, output, errors) = await AglowProcess.RunToEndAsync(["serve"], new() { [name] = value });
        code.ShouldBe(2);
        output.ShouldBeEmpty();
        ShouldBeOneLine(errors);
    }

    [Theory]
    [InlineData("{ nonsense")]
    [InlineData("""{"Aglow":{"LeaseSecond":30}}""")]
    [InlineData("""{"Aglow":{"LeaseSeconds":"x"}}""")]
    [InlineData("""{"Aglow":{"Data":""}}""")]
    [InlineData("""{"Aglow":{"Secrets":""}}""")]
    [InlineData("""{"Aglow":{"Definitions":{"chat":{"PulseSeconds":60}}}}""")]
    public async Task A_wrong_settings_file_is_one_line_and_code_2(string json)
    {
        var folder = AglowProcess.NewFolder();
        await File.WriteAllTextAsync(Path.Combine(folder, "appsettings.json"), json);
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--settings", Path.Combine(folder, "appsettings.json")]);
        code.ShouldBe(2);
        ShouldBeOneLine(errors);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_settings_file_that_is_named_must_be_there_and_one_that_only_lies_about_is_not_read()
    {
        var folder = AglowProcess.NewFolder();
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--settings", Path.Combine(folder, "none.json")]);
        code.ShouldBe(2);
        ShouldBeOneLine(errors);
        await File.WriteAllTextAsync(Path.Combine(folder, "appsettings.json"), """{"Aglow":{"LeaseSeconds":101}}""");
        await using var server = AglowProcess.Run(Path.Combine(folder, "data"), [], workingFolder: folder);
        await server.ReadyAsync();
        server.Output.ShouldContain("lease 30 s");
        (await server.StopAsync()).ShouldBe(0);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Files_and_backups_are_their_owners_alone_and_no_link_is_followed()
    {
        var folder = Path.Combine(AglowProcess.NewFolder(), "made");
        var backup = folder + "-backup";
        await TokenServer.AddKeyAsync(folder, "reader", "read");
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            (await server.PostAsync("/users", """{"user_name":"ann"}""")).Status.ShouldBe(201);
            (await AglowProcess.RunToEndAsync(["backup", backup, "--data", folder])).Code.ShouldBe(0);
            foreach (var made in new[] { folder, backup })
            {
                ModeOf(made).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, made);
                var files = Directory.GetFiles(made);
                files.Select(Path.GetFileName).ShouldBeSubsetOf(
                    [
                        "presence.db", "presence.db-wal", "presence.db-sums", "users.db", "users.db-wal", "users.db-sums",
                        "keys.json", "keys.lock",
                        "checkpoint.lock", "lock", "pid", "from-backup",
                    ]);
                foreach (var file in files)
                    ModeOf(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite, file);
            }

            await server.StopAsync();
        }

        foreach (var name in new[] { "presence.db", "users.db", "lock" })
        {
            var (file, elsewhere) = (Path.Combine(folder, name), Path.Combine(folder, $"{name}.elsewhere"));
            File.Move(file, elsewhere);
            File.CreateSymbolicLink(file, elsewhere);
            var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", "--data", folder]);
            code.ShouldBe(1, name);
            ShouldBeOneLine(errors);
            errors.ShouldContain("is a link");
            File.Move(elsewhere, file, overwrite: true);
        }

        Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);

        static UnixFileMode ModeOf(string path) =>
            OperatingSystem.IsWindows() ? throw new PlatformNotSupportedException() : File.GetUnixFileMode(path);
    }

    [Fact]
    public async Task A_folder_that_cannot_be_made_is_one_line_and_code_1() =>
        await ShouldFailAsync(1, "/proc/aglow", "serve", "--urls", "http://127.0.0.1:0", "--data", "/proc/aglow");

    [Fact]
    public async Task Flags_come_before_variables_before_files_before_defaults()
    {
        var folder = AglowProcess.NewFolder();
        await File.WriteAllTextAsync(
            Path.Combine(folder, "appsettings.json"),
            """
            {"Aglow":{"LeaseSeconds":101,"HeartbeatSeconds":31,"AwaySeconds":900,
                "Definitions":{"gamers":{"PulseSeconds":90,"EndedByLeave":false}}}}
            """);
        await using var server = AglowProcess.Run(
            Path.Combine(folder, "made", "by", "the-server"),
            ["--lease-seconds", "103"],
            new()
            {
                ["AGLOW_LEASE_SECONDS"] = "102",
                ["AGLOW_HEARTBEAT_SECONDS"] = "32",
                ["AGLOW_PORT"] = "tcp://10.0.0.1:80",
                ["AGLOW_KEY"] = "aglow_of-the-commands",
                ["AGLOW_SETTINGS"] = Path.Combine(folder, "appsettings.json"),
            });
        await server.ReadyAsync();
        (await server.PostAsync("/heartbeat", """{"user_id":1}""")).ShouldBeJson(
            """{"status":"success","next_heartbeat_seconds":32,"offline_after_seconds":103}""");
        (await server.GetAsync("/status/1?definition=gamers")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue();
        (await server.GetAsync("/status/1?definition=active")).Status.ShouldBe(200);
        server.Output.ShouldContain("AGLOW_PORT is not a setting");
        server.Output.ShouldNotContain("AGLOW_KEY");
        server.Output.ShouldContain("lease 103 s");
        server.Output.ShouldContain(Path.Combine(folder, "made", "by", "the-server"));
        (await server.StopAsync()).ShouldBe(0);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Listening_to_the_network_in_open_mode_is_warned_of()
    {
        await using var server = AglowProcess.Run(null, ["--allow-open"], urls: "http://0.0.0.0:0");
        await server.ReadyAsync();
        server.Output.ShouldContain("OPEN TO THE NETWORK");
        await using var loopback = await AglowProcess.StartAsync();
        loopback.Output.ShouldNotContain("OPEN TO THE NETWORK");
    }

    [Fact]
    public async Task Help_is_no_failure()
    {
        foreach (var arguments in new string[][] { ["help"], ["--help"], [], ["serve", "--help"] })
        {
            var (code, output, errors) = await AglowProcess.RunToEndAsync(arguments);
            code.ShouldBe(0);
            output.ShouldContain("serve");
            errors.ShouldBeEmpty();
        }
    }

    private static async Task ShouldFailAsync(int code, string says, params string[] arguments)
    {
        var (exit, output, errors) = await AglowProcess.RunToEndAsync(arguments);
        exit.ShouldBe(code, $"{output}{errors}");
        ShouldBeOneLine(errors);
        errors.ShouldContain(says);
        output.ShouldNotContain("   at ");
        output.ShouldNotContain("fail:");
    }

    private static void ShouldBeOneLine(string errors)
    {
        errors.ShouldStartWith("aglow: ");
        errors.TrimEnd('\n').ShouldNotContain("\n");
        errors.ShouldNotContain("Exception");
    }

    private static bool IsClosed(Uri address)
    {
        try
        {
            using var client = new TcpClient(address.Host, address.Port);
            return false;
        }
        catch (SocketException)
        {
            return true;
        }
    }
}
