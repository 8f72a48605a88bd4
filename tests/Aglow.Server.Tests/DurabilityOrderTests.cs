using System.Diagnostics;

namespace Aglow.Server.Tests;

/// <summary>
/// Checks with the kernel's view: before each acknowledgement of an explicit fact, an fdatasync completed since the previous one.
/// </summary>
/// <remarks>
/// strace follows the server. One client sends one request after another. So between two answers there is only one request's work, and the
/// journal's ticks.
/// </remarks>
public class DurabilityOrderTests
{
    [Fact]
    public async Task Fdatasync_comes_before_each_acknowledgement_of_an_explicit_fact()
    {
        await using var server = await AglowProcess.StartAsync();
        var trace = Path.Combine(server.Folder, "strace.txt");
        using var strace = Process.Start(new ProcessStartInfo(
            "strace", ["-f", "-s", "48", "-e", "trace=fdatasync,fsync,sendto,sendmsg,write,writev", "-o", trace, "-p", $"{server.Id}"])
        {
            UseShellExecute = false,
            RedirectStandardError = true,
        })!;
        // strace prints "attached" when it is ready
        (await strace.StandardError.ReadLineAsync()).ShouldNotBeNull().ShouldContain("attached");

        var facts = 0;
        for (var i = 0; i < 5; i++)
        {
            await SendAsync(HttpMethod.Post, "/users", $"{{\"user_name\":\"anna {i}\"}}");
            await SendAsync(HttpMethod.Put, $"/users/anna%20{i}/status", "{\"status\":\"away\"}");
            await SendAsync(HttpMethod.Post, $"/users/anna%20{i}/subscriptions", "{\"user_ids\":[1,2]}");
            await SendAsync(HttpMethod.Post, "/heartbeat", $"{{\"user_id\":\"key {i}\"}}");
            await SendAsync(HttpMethod.Post, "/heartbeat", $"{{\"user_id\":{i}}}");
            await SendAsync(HttpMethod.Post, "/offline", $"{{\"user_id\":{i}}}");
            await SendAsync(HttpMethod.Delete, $"/users/anna%20{i}", null);
            facts += 7;
        }

        // the control: reads sync nothing, so the count above means something
        const int reads = 40;
        for (var i = 0; i < reads; i++)
            await SendAsync(HttpMethod.Get, "/status/1", null);
        using (var detach = Process.Start("kill", ["-INT", $"{strace.Id}"]))
            await detach.WaitForExitAsync();
        await strace.WaitForExitAsync();

        var synced = SyncedBefore(await File.ReadAllLinesAsync(trace));
        synced.Count.ShouldBe(facts + reads);
        synced.Take(facts).ShouldAllBe(static before => before);
        synced.Skip(facts).Count(static before => before).ShouldBeLessThan(reads / 4);

        async Task SendAsync(HttpMethod method, string path, string? json)
        {
            using var request = new HttpRequestMessage(method, path);
            if (json is not null)
                request.Content = new StringContent(json, Encoding.UTF8, "application/json");
            using var answer = await server.Http.SendAsync(request);
            answer.IsSuccessStatusCode.ShouldBeTrue($"{method} {path}");
        }
    }

    // For each answer in order: whether an fdatasync completed between the previous answer and the call that sent this one.
    private static List<bool> SyncedBefore(string[] lines)
    {
        var answers = new List<bool>();
        var synced = false;
        foreach (var line in lines)
        {
            if (line.Contains("sync", StringComparison.Ordinal) && line.EndsWith("= 0", StringComparison.Ordinal))
                synced = true;
            if (!line.Contains("\"HTTP/1.1 20", StringComparison.Ordinal))
                continue;
            answers.Add(synced);
            synced = false;
        }

        return answers;
    }
}
