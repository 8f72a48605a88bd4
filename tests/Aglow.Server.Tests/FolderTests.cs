namespace Aglow.Server.Tests;

/// <summary>The data folder is removed while a server runs. Nothing may be acknowledged into files that cannot be found again.</summary>
public sealed class FolderTests
{
    // makes a server that runs as root respect permissions
    internal static readonly string[] WithoutPrivilege = Environment.IsPrivilegedProcess
        ? ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
        : ["env"];

    [Theory]
    [InlineData("folder deleted")]
    [InlineData("folder moved away")]
    [InlineData("folder replaced by a copy")]
    [InlineData("folder read-only")]
    [InlineData("users.db deleted")]
    [InlineData("presence.db-wal deleted")]
    [InlineData("users.db-wal replaced by a copy")]
    [InlineData("presence.db replaced by a copy")]
    public async Task Every_fact_is_refused_from_the_moment_on_that_the_folder_is_lost(string how)
    {
        var parent = AglowProcess.NewFolder();
        var folder = Path.Combine(parent, "data");
        await using var server = AglowProcess.Run(folder, [], through: WithoutPrivilege);
        await server.ReadyAsync();
        foreach (var fact in Facts(0))
            (await SendAsync(server, fact)).ShouldBeInRange(200, 201, $"{fact}");
        Lose(folder, how);
        foreach (var fact in Facts(1))
            (await SendAsync(server, fact)).ShouldBe(503, $"{fact}: {how}");
        await Eventually.TrueAsync(async () => (int)(await server.Http.GetAsync("/health/ready")).StatusCode == 503, 60, "not ready");
        foreach (var read in new[] { "/changes", "/webhooks", "/users?q=a", "/users/1", "/users/1/subscriptions", "/users/1/status" })
            ((int)(await server.Http.GetAsync(read)).StatusCode).ShouldNotBe(500, $"{read}: {how}");
        // queries that memory answers still work
        (await server.Http.GetAsync("/status/1")).IsSuccessStatusCode.ShouldBeTrue();
        (await server.StopAsync()).ShouldBe(1);
        // the log is read to its end
        server.Output.ShouldContain(how.Contains("read-only", StringComparison.Ordinal) ? "cannot be written any more"
            : how.Contains("copy", StringComparison.Ordinal) ? "is another file" : "is gone while this server runs");
        server.Output.ShouldContain(folder);
        server.Errors.TrimEnd('\n').ShouldNotContain("\n");
        server.Errors.ShouldContain("could not be written");
        if (Directory.Exists(folder))
            Permit(folder);
        Directory.Delete(parent, recursive: true);
    }

    [Fact]
    public async Task A_limit_of_file_sizes_counts_as_a_full_disk_until_it_is_raised()
    {
        // The runtime maps its code from a file that is larger than the limit, unless this is off. The library of SQLite is in a file in
        // memory of 1.3 MB, for which the limit holds, too.
        var environment = new Dictionary<string, string> { ["DOTNET_EnableWriteXorExecute"] = "0" };
        await using var server = AglowProcess.Run(
            null, ["--lease-seconds", "3600"], environment, through: ["prlimit", $"--fsize={4 << 20}:"]);
        await server.ReadyAsync();
        var i = 0;
        while (await SendAsync(server, Arrival()) == 200)
            i.ShouldBeLessThan(5000);
        (await SendAsync(server, Arrival())).ShouldBe(503);
        (await server.Http.GetAsync("/health/live")).IsSuccessStatusCode.ShouldBeTrue();
        using (var raise = System.Diagnostics.Process.Start("prlimit", ["--pid", $"{server.Id}", "--fsize=unlimited:"]))
            await raise.WaitForExitAsync();
        await Eventually.TrueAsync(async () => await SendAsync(server, Arrival()) == 200, 60, "it takes them");
        (await server.StopAsync()).ShouldBe(0);

        (HttpMethod, string, string) Arrival() => (HttpMethod.Post, "/heartbeat", $$"""{"user_id":"user-{{i++}}"}""");
    }

    [Fact]
    public async Task A_folder_that_comes_back_goes_on_with_everything_that_was_acknowledged()
    {
        var parent = AglowProcess.NewFolder();
        var folder = Path.Combine(parent, "data");
        await using (var server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600"))
        {
            await SendAsync(server, (HttpMethod.Post, "/heartbeat", """{"user_id":1}"""));
            Directory.Move(folder, folder + "-away");
            (await SendAsync(server, (HttpMethod.Post, "/heartbeat", """{"user_id":2}"""))).ShouldBe(503);
            (await SendAsync(server, (HttpMethod.Post, "/users", """{"user_name":"before"}"""))).ShouldBe(503);
            Directory.Move(folder + "-away", folder);
            await Eventually.TrueAsync(async () => (await server.Http.GetAsync("/health/ready")).IsSuccessStatusCode, 60, "ready");
            await Eventually.TrueAsync(
                async () => await SendAsync(server, (HttpMethod.Post, "/heartbeat", """{"user_id":3}""")) == 200, 60, "it takes them");
            (await SendAsync(server, (HttpMethod.Post, "/users", """{"user_name":"after"}"""))).ShouldBe(201);
            await Eventually.TrueAsync(() => Task.FromResult(server.Output.Contains("can be written again")), 60, "the log says so");
            await server.KillAsync();
        }

        await using (var server = await AglowProcess.StartAsync(folder, "--lease-seconds", "600"))
        {
            foreach (var user in new[] { "1", "3" })
                (await server.Http.GetStringAsync($"/status/{user}")).ShouldContain("\"is_online\":true");
            (await server.Http.GetAsync("/users/after")).IsSuccessStatusCode.ShouldBeTrue();
            (await server.StopAsync()).ShouldBe(0);
        }

        Directory.Delete(parent, recursive: true);
    }

    // every kind of fact that is acknowledged once it is on disk; the number makes each one different
    private static (HttpMethod, string, string?)[] Facts(int number) =>
    [
        (HttpMethod.Post, "/users", $$"""{"user_name":"ann{{number}}"}"""),
        (HttpMethod.Post, "/heartbeat", $$"""{"user_id":"key{{number}}"}"""),
        (HttpMethod.Post, "/heartbeat", $$"""{"user_id":{{10 + number}}}"""),
        (HttpMethod.Post, "/offline", """{"user_id":10}"""),
        (HttpMethod.Put, "/users/1/status", """{"status":"busy"}"""),
        (HttpMethod.Post, "/users/1/subscriptions", $$"""{"user_ids":[{{100 + number}}]}"""),
        (HttpMethod.Post, "/users/1/blocked", $$"""{"user_ids":[{{100 + number}}]}"""),
    ];

    private static void Lose(string folder, string how)
    {
        var file = Path.Combine(folder, how.Split(' ')[0]);
        switch (how)
        {
            case "folder deleted":
                Directory.Delete(folder, recursive: true);
                break;
            case "folder moved away":
                Directory.Move(folder, folder + "-away");
                break;
            case "folder replaced by a copy":
                Directory.Move(folder, folder + "-away");
                Directory.CreateDirectory(folder);
                foreach (var one in Directory.GetFiles(folder + "-away", "*.db*"))
                    File.Copy(one, Path.Combine(folder, Path.GetFileName(one)));
                break;
            case "folder read-only":
                SetMode(folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
                break;
            case var _ when how.EndsWith("deleted", StringComparison.Ordinal):
                File.Delete(file);
                break;
            default:
                File.Copy(file, file + ".copy");
                File.Move(file + ".copy", file, overwrite: true);
                break;
        }
    }

    private static void Permit(string folder) =>
        SetMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

    internal static void SetMode(string folder, UnixFileMode mode)
    {
        if (OperatingSystem.IsWindows())
            throw new PlatformNotSupportedException();
        File.SetUnixFileMode(folder, mode);
    }

    private static async Task<int> SendAsync(AglowProcess server, (HttpMethod Method, string Path, string? Json) fact)
    {
        using var request = new HttpRequestMessage(fact.Method, fact.Path);
        if (fact.Json is not null)
            request.Content = new StringContent(fact.Json, Encoding.UTF8, "application/json");
        using var answer = await server.Http.SendAsync(request);
        return (int)answer.StatusCode;
    }
}
