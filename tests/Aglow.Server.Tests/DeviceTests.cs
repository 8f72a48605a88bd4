namespace Aglow.Server.Tests;

/// <summary>Kinds of devices in every record, and as definitions.</summary>
public sealed class DeviceTests
{
    private const string Both = "\"devices\":[\"desktop\",\"mobile\"]";

    [Fact]
    public async Task Every_record_names_the_kinds_of_devices_that_are_alive()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "300", "--heartbeat-seconds", "2");
        await server.PostAsync("/users", """{"user_name":"ann","user_id":3}""");
        await HeartbeatAsync(server, "desktop");
        await HeartbeatAsync(server, "mobile");

        await ShowAsync(server, Both);
        await using (var socket = await RawSocket.OpenAsync(server.Address, "9"))
        {
            await socket.SendAsync("""{"type":"watch","users":[3]}""");
            (await ReadAsync(socket)).ShouldContain(Both);
            await server.PostAsync("/heartbeat", """{"user_id":3,"device":{"id":"w","kind":"web"}}""");
            (await ReadAsync(socket)).ShouldContain("\"devices\":[\"desktop\",\"mobile\",\"web\"]");
        }

        using (var stream = await server.Http.GetStreamAsync(new Uri("/watch?users=3", UriKind.Relative)))
        using (var lines = new StreamReader(stream))
        {
            string? line;
            do
                line = await lines.ReadLineAsync();
            while (line?.Contains("\"user_id\":3", StringComparison.Ordinal) == false);
            line.ShouldNotBeNull().ShouldContain("\"devices\":[\"desktop\",\"mobile\",\"web\"]");
        }

        // each kind is a definition
        foreach (var (kind, status) in new[] { ("desktop", "online"), ("mobile", "online"), ("other", "offline") })
            (await server.GetAsync($"/status/3?definition={kind}")).Json["status"]!.GetValue<string>().ShouldBe(status, kind);
        (await server.GetAsync("/online/count?definition=mobile")).Json["online"]!.GetValue<int>().ShouldBe(1);

        // a hidden user shows no devices, and a leave on all devices removes them
        await server.SendAsync(HttpMethod.Put, "/users/3/status", """{"status":"offline"}"""u8.ToArray(), "application/json");
        await ShowAsync(server, null);
        await server.SendAsync(HttpMethod.Put, "/users/3/status", """{"status":"auto"}"""u8.ToArray(), "application/json");
        await ShowAsync(server, "\"devices\":[\"desktop\",\"mobile\",\"web\"]");
        await server.PostAsync("/offline", """{"user_id":3}""");
        await HeartbeatAsync(server, "other");
        await ShowAsync(server, "\"devices\":[\"other\"]");
    }

    [Fact]
    public async Task A_socket_names_its_device_and_takes_it_away()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "300", "--heartbeat-seconds", "2");
        await HeartbeatAsync(server, "desktop");
        await using var socket = await RawSocket.HandshakeAsync(server.Address, "/ws?user_id=3&device_id=p&device_kind=mobile");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (await server.GetAsync("/status/3")).Text.ShouldContain(Both);
        await socket.SendAsync("""{"type":"leave"}""");
        // another phone might still be in use, and proves it within the shortened lease
        var deadline = DateTimeOffset.UtcNow.AddSeconds(60);
        while (!(await server.GetAsync("/status/3")).Text.Contains("\"devices\":[\"desktop\"]", StringComparison.Ordinal))
        {
            DateTimeOffset.UtcNow.ShouldBeLessThan(deadline);
            await HeartbeatAsync(server, "desktop");
            await Task.Delay(100);
        }
    }

    [Fact]
    public async Task A_device_leaves_with_its_last_connection()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "20", "--heartbeat-seconds", "1");
        await using var first = await OpenAsync(server);
        await using var second = await OpenAsync(server);
        var staying = second.StayAsync(static _ => { }, CancellationToken.None);
        await first.SendAsync("""{"type":"leave"}""");
        // until the device was heard for longer than a shortened lease, by its other tab alone
        long LastSeen(string record) => JsonDocument.Parse(record).RootElement.GetProperty("last_seen").GetInt64();
        var left = LastSeen((await server.GetAsync("/status/3")).Text);
        for (var last = left; last < left + 6;)
        {
            var now = (await server.GetAsync("/status/3")).Text;
            now.ShouldContain("\"devices\":[\"mobile\"]");
            last = LastSeen(now);
            await Task.Delay(100);
        }

        await second.SendAsync("""{"type":"leave"}""");
        await OfflineAsync(server);
        await staying;
    }

    // The device leaves by a call, as a closing page does, or a laptop in another network, while its old socket still looks alive.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_device_that_leaves_by_a_call_is_not_kept_online_by_its_own_socket(bool closes)
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "300", "--heartbeat-seconds", "1");
        await using var socket = await OpenAsync(server);
        // it answers, so it is certainly alive
        await socket.SendAsync("""{"type":"watch","users":[9]}""");
        await ReadAsync(socket);
        (await server.PostAsync("/offline", """{"user_id":3,"device":{"id":"p","kind":"mobile"}}""")).Status.ShouldBe(200);
        if (closes)
            await socket.SendAsync(0x8, [3, 233]);
        await OfflineAsync(server);
    }

    // The swarm found this: a phone that died silently was shown for up to a lease after the person was offline.
    [Fact]
    public async Task Who_is_offline_is_so_on_every_kind_of_device()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "100", "--heartbeat-seconds", "1");
        await HeartbeatAsync(server, "mobile");
        await HeartbeatAsync(server, "desktop");
        await server.PostAsync("/offline", """{"user_id":3,"device":{"id":"desktop-1","kind":"desktop"}}""");
        await OfflineAsync(server);
        (await server.GetAsync("/status/3")).Text.ShouldNotContain("devices");
        (await server.GetAsync("/status/3?definition=mobile")).Text.ShouldContain("\"is_online\":false");
        await HeartbeatAsync(server, "mobile");
        (await server.GetAsync("/status/3?definition=mobile")).Text.ShouldContain("\"devices\":[\"mobile\"]");
    }

    private static async Task<RawSocket> OpenAsync(AglowProcess server)
    {
        var socket = await RawSocket.ConnectAsync(server.Address);
        await socket.WriteAsync(RawSocket.Handshake("/ws?user_id=3&device_id=p&device_kind=mobile"));
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        return socket;
    }

    private static async Task OfflineAsync(AglowProcess server)
    {
        var deadline = DateTimeOffset.UtcNow.AddSeconds(60);
        while ((await server.GetAsync("/status/3")).Text.Contains("\"is_online\":true", StringComparison.Ordinal))
        {
            DateTimeOffset.UtcNow.ShouldBeLessThan(deadline);
            await Task.Delay(50);
        }
    }

    private static async Task HeartbeatAsync(AglowProcess server, string kind) =>
        (await server.PostAsync("/heartbeat", $"{{\"user_id\":3,\"device\":{{\"id\":\"{kind}-1\",\"kind\":\"{kind}\"}}}}"))
            .Status.ShouldBe(200);

    private static async Task ShowAsync(AglowProcess server, string? devices)
    {
        foreach (var answer in new[]
        {
            await server.GetAsync("/status/3"),
            await server.GetAsync("/status?user=3"),
            await server.GetAsync("/status/users?ids=3"),
            await server.PostAsync("/status/batch", """{"user_ids":[3]}"""),
            await server.GetAsync("/users/3"),
            await server.GetAsync("/users?q=ann"),
        })
        {
            if (devices is null)
                answer.Text.ShouldNotContain("devices");
            else
                answer.Text.ShouldContain(devices);
        }
    }

    private static async Task<string> ReadAsync(RawSocket socket)
    {
        JsonElement message;
        do
            message = await socket.ReadMessageAsync();
        while (message.GetProperty("type").GetString() != "presence");
        return message.GetRawText();
    }
}
