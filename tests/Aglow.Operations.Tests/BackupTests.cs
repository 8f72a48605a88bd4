using System.Text;
using System.Text.Json.Nodes;

namespace Aglow.Operations.Tests;

/// <summary>A data folder, copied while its server is written to, and served again.</summary>
public sealed class BackupTests
{
    [Fact]
    public async Task A_backup_under_load_has_all_that_was_acknowledged_before()
    {
        var parent = AglowProcess.NewFolder();
        var to = Path.Combine(parent, "monday");
        // a lease that outlasts the slowest machine: who was online at the backup is online at the restore
        await using (var server = await AglowProcess.StartAsync(null, "--lease-seconds", "3600"))
        {
            await PostAsync(server, "/users", """{"user_name":"alice","display_name":"Alice"}""");
            await PostAsync(server, "/heartbeat", """{"user_ids":["bob",7,8]}""");
            await PostAsync(server, "/users/alice/subscriptions", """{"user_ids":["bob",7]}""");
            await PostAsync(server, "/offline", """{"user_id":7}""");
            await server.Http.PutAsync("/users/bob/status", Json("""{"status":"busy"}"""));
            var gone = (await GetAsync(server, "/status/7"))["last_seen"]!.GetValue<long>();
            // new users and arrivals all the while
            using var enough = new CancellationTokenSource();
            var load = Task.WhenAll(Enumerable.Range(0, 4).Select(worker => LoadAsync(server, worker, enough.Token)));
            var (code, output, errors) = await AglowProcess.RunToEndAsync(["backup", to, "--data", server.Folder]);
            await enough.CancelAsync();
            await load;
            code.ShouldBe(0, errors);
            output.ShouldContain(to);

            await using var restored = await AglowProcess.StartAsync(to, "--lease-seconds", "3600");
            restored.Output.ShouldContain("was interrupted");
            (await GetAsync(restored, "/users/alice/subscriptions")).ToJsonString().ShouldBe("""{"user_ids":[7,"bob"]}""");
            (await GetAsync(restored, "/users?q=ali"))["users"]![0]!["display_name"]!.GetValue<string>().ShouldBe("Alice");
            (await GetAsync(restored, "/status/bob"))["status"]!.GetValue<string>().ShouldBe("busy");
            (await GetAsync(restored, "/status/7")).ToJsonString().ShouldBe(
                $$"""{"user_id":7,"is_online":false,"status":"offline","last_seen":{{gone}}}""");
            (await GetAsync(restored, "/status/8"))["is_online"]!.GetValue<bool>().ShouldBeTrue();
        }

        Directory.Delete(parent, recursive: true);
    }

    [Fact]
    public async Task What_is_there_is_not_overwritten_and_what_is_no_data_is_no_backup()
    {
        var folder = AglowProcess.NewFolder();
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["backup", Path.Combine(folder, "new"), "--data", folder]);
        code.ShouldBe(1);
        errors.ShouldContain("is not a data folder");
        await using (var server = await AglowProcess.StartAsync())
        {
            (code, _, errors) = await AglowProcess.RunToEndAsync(["backup", folder, "--data", server.Folder]);
            code.ShouldBe(1);
            errors.ShouldContain("is there already");
            (code, _, errors) = await AglowProcess.RunToEndAsync(["backup", "/proc/aglow", "--data", server.Folder]);
            code.ShouldBe(1);
            errors.TrimEnd('\n').ShouldNotContain("\n");
        }

        Directory.GetFileSystemEntries(folder).ShouldBeEmpty();
        Directory.Delete(folder);
    }

    // a heartbeat that was begun is ended: what is asked afterwards is of a server that nobody hung up on
    private static async Task LoadAsync(AglowProcess server, int worker, CancellationToken enough)
    {
        for (var i = 0; !enough.IsCancellationRequested; i++)
            (await server.Http.PostAsync(
                "/heartbeat", Json($$"""{"user_ids":[{{(worker * 1_000_000) + 100 + i}},"key-{{worker}}-{{i}}"]}"""),
                CancellationToken.None)).Dispose();
    }

    private static async Task PostAsync(AglowProcess server, string path, string json) =>
        (await server.Http.PostAsync(path, Json(json))).EnsureSuccessStatusCode().Dispose();

    private static async Task<JsonNode> GetAsync(AglowProcess server, string path) =>
        JsonNode.Parse(await server.Http.GetStringAsync(path))!;

    private static StringContent Json(string json) => new(json, Encoding.UTF8, "application/json");
}
