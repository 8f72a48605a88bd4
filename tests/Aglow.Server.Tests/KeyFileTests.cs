using System.Diagnostics;

namespace Aglow.Server.Tests;

/// <summary>
/// A running server whose <c>keys.json</c> becomes damaged: the keys in use stay valid, and the log reports it once.
/// </summary>
public class KeyFileTests
{
    private const string Good = "\"name\":\"new\",\"id\":\"aaaaaaaa\",\"created_at\":1";
    private static readonly string Hash = Convert.ToBase64String(new byte[32]);

    public static TheoryData<string, string?> Files => new()
    {
        { "gone", null },
        { "empty", "" },
        { "half written", "[{\"name\":\"ga" },
        { "null", "null" },
        { "a null key", "[null]" },
        { "a key without members", "[{}]" },
        { "an unknown scope", $"[{{{Good},\"hash\":\"{Hash}\",\"scopes\":\"everything\"}}]" },
        { "no scope", $"[{{{Good},\"hash\":\"{Hash}\",\"scopes\":\"\"}}]" },
        { "bad base64", $"[{{{Good},\"hash\":\"%%%\",\"scopes\":\"read\"}}]" },
        { "a short hash", $"[{{{Good},\"hash\":\"AAAA\",\"scopes\":\"read\"}}]" },
        { "a time that is none", $"[{{{Good}000000000000000,\"hash\":\"{Hash}\",\"scopes\":\"read\"}}]" },
        { "an object", "{}" },
        { "numbers for text", "[{\"name\":1,\"id\":2,\"hash\":3,\"scopes\":4,\"created_at\":\"x\"}]" },
        { "bytes", "\u0000\u0001\u0002" },
    };

    [Fact]
    public async Task A_damaged_file_of_any_kind_changes_no_key_and_is_logged_once()
    {
        await using var server = await AglowProcess.StartAsync(null, Token.ServerFlags);
        var key = await TokenServer.AddKeyAsync(server.Folder, "gateway", "read");
        await Eventually.TrueAsync(async () => (await server.CallAsync(key, "GET", "/status/1")).Status == 200, 60, "the key is taken");
        var path = Path.Combine(server.Folder, "keys.json");
        var one = await File.ReadAllTextAsync(path);
        var other = await TokenServer.AddKeyAsync(server.Folder, "other", "read");
        var both = await File.ReadAllTextAsync(path);
        var isOther = true;
        foreach (var file in (IEnumerable<object?[]>)Files)
        {
            var warnings = Warnings();
            if (file[1] is string content)
                await ReplaceAsync(content);
            else
                File.Delete(path);
            await Eventually.TrueAsync(() => Task.FromResult(Warnings() > warnings), 60, $"a file that is {file[0]} is logged");
            (await server.CallAsync(key, "GET", "/status/1")).Status.ShouldBe(200, $"{file[0]}");
            // the server reads the next intact file
            isOther = !isOther;
            await ReplaceAsync(isOther ? both : one);
            await Eventually.TrueAsync(
                async () => (await server.CallAsync(other, "GET", "/status/1")).Status == (isOther ? 200 : 401), 60,
                $"the server goes on after a file that is {file[0]}");
            Warnings().ShouldBe(warnings + 1, $"{file[0]}");
        }

        // an empty list revokes all keys
        await ReplaceAsync(new JsonArray().ToJsonString());
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "GET", "/status/1")).Status == 401, 60, "a key that is not in the file is refused");

        // a file that is written in place is empty for a moment, which the server may see
        async Task ReplaceAsync(string content)
        {
            await File.WriteAllTextAsync(path + ".test", content);
            File.Move(path + ".test", path, overwrite: true);
        }

        int Warnings() => server.Output.Split("keys that were valid before stay valid").Length - 1;
    }

    [Theory]
    [InlineData("pipe")]
    [InlineData("folder")]
    public async Task A_path_that_is_no_file_for_a_while_is_read_again_when_it_is_one(string kind)
    {
        await using var server = await AglowProcess.StartAsync(null, Token.ServerFlags);
        var key = await TokenServer.AddKeyAsync(server.Folder, "gateway", "read");
        await Eventually.TrueAsync(async () => (await server.CallAsync(key, "GET", "/status/1")).Status == 200, 60, "the key is taken");
        var path = Path.Combine(server.Folder, "keys.json");
        var (away, one) = (path + ".away", await File.ReadAllTextAsync(path));
        var other = await TokenServer.AddKeyAsync(server.Folder, "other", "read");
        await Eventually.TrueAsync(async () => (await server.CallAsync(other, "GET", "/status/1")).Status == 200, 60, "it is read again");
        File.Move(path, away);
        if (kind == "folder")
            Directory.CreateDirectory(path);
        else
            (await CommandAsync("mkfifo", path)).ShouldBe(0);
        await Eventually.TrueAsync(() => Task.FromResult(Warnings() == 1), 60, $"a {kind} is logged");
        server.Output.ShouldContain("keys.json is not a regular file");
        (await server.CallAsync(other, "GET", "/status/1")).Status.ShouldBe(200);
        await File.WriteAllTextAsync(away, one);
        if (kind == "folder")
            Directory.Delete(path);
        File.Move(away, path, overwrite: true);
        await Eventually.TrueAsync(async () => (await server.CallAsync(other, "GET", "/status/1")).Status == 401, 60, "it is read again");
        (await server.CallAsync(key, "GET", "/status/1")).Status.ShouldBe(200);
        Warnings().ShouldBe(1);

        // between two moves, the server may also log that the file is gone
        int Warnings() => server.Output.Split("not a regular file").Length - 1;

        static async Task<int> CommandAsync(string name, string argument)
        {
            using var command = Process.Start(name, [argument]);
            await command.WaitForExitAsync();
            return command.ExitCode;
        }
    }

    [Fact]
    public async Task A_file_of_another_user_is_not_to_be_replaced()
    {
        var folder = AglowProcess.NewFolder();
        // a file that nobody may read, not even root
        File.CreateSymbolicLink(Path.Combine(folder, "keys.json"), "/proc/sys/vm/compact_memory");
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["keys", "list"], new() { ["AGLOW_DATA"] = folder });
        code.ShouldBe(1);
        errors.ShouldContain("give this user the right to read it");
        errors.ShouldNotContain("new keys");
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Keys_are_those_of_the_folder_that_serve_uses()
    {
        var folder = AglowProcess.NewFolder();
        var settings = Path.Combine(folder, "settings.json");
        var (named, set) = (Path.Combine(folder, "named"), Path.Combine(folder, "set"));
        await File.WriteAllTextAsync(settings, $"{{\"Aglow\":{{\"Data\":\"{set}\",\"Auth\":\"token\"}}}}");
        await AddAsync("by-file", new() { ["AGLOW_SETTINGS"] = settings });
        await AddAsync("by-variable", new() { ["AGLOW_SETTINGS"] = settings, ["AGLOW_DATA"] = named });
        (await File.ReadAllTextAsync(Path.Combine(set, "keys.json"))).ShouldContain("by-file");
        (await File.ReadAllTextAsync(Path.Combine(named, "keys.json"))).ShouldContain("by-variable");
        Directory.Delete(folder, recursive: true);

        static async Task AddAsync(string name, Dictionary<string, string> environment) => (await AglowProcess.RunToEndAsync(
            ["keys", "add", "--name", name, "--scope", "read"], environment)).Code.ShouldBe(0);
    }

    [Fact]
    public async Task A_server_does_not_start_with_a_damaged_file_and_says_so_in_one_line()
    {
        var folder = AglowProcess.NewFolder();
        await File.WriteAllTextAsync(Path.Combine(folder, "keys.json"), "[null]");
        var (code, _, errors) = await AglowProcess.RunToEndAsync(
            ["serve", "--data", folder, "--urls", "http://127.0.0.1:0", .. Token.ServerFlags]);
        code.ShouldBe(1, errors);
        errors.Trim().Split('\n').Length.ShouldBe(1, errors);
        errors.ShouldContain("keys.json cannot be read");
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("list")]
    [InlineData("revoke", "--name", "a")]
    public async Task The_keys_of_a_folder_that_is_not_there_are_an_error_and_no_folder_is_made(params string[] command)
    {
        var (code, output, errors) = await AglowProcess.RunToEndAsync(["keys", .. command, "--data", "/nowhere/aglow"]);
        (code, output, errors).ShouldBe((1, "", "aglow: /nowhere/aglow is not a data folder: name one with --data.\n"));
        Path.Exists("/nowhere/aglow").ShouldBeFalse();
    }
}
