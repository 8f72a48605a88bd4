using System.Runtime.InteropServices;

namespace Aglow.Server.Tests;

/// <summary>A damaged data folder from the operator's view: a start, <c>aglow check</c>, <c>aglow repair</c>.</summary>
public sealed class DamageTests
{
    [Fact]
    public async Task A_start_names_the_damaged_file_and_the_commands_that_save_the_rest()
    {
        var parent = AglowProcess.NewFolder();
        var folder = Path.Combine(parent, "data");
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            (await server.PostAsync("/users", """{"user_name":"ann"}""")).Status.ShouldBe(201);
            (await server.PostAsync("/heartbeat", """{"user_ids":[7,"bob"]}""")).Status.ShouldBe(200);
            (await AglowProcess.RunToEndAsync(["check", "--data", folder])).Errors.ShouldContain($"in use by process {server.Id}");
            (await server.StopAsync()).ShouldBe(0);
        }

        var (code, output, errors) = await AglowProcess.RunToEndAsync(["check", "--data", folder]);
        code.ShouldBe(0, errors);
        output.ShouldContain("users.db: good");

        Flip(Path.Combine(folder, "presence.db"), 20_000);
        (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", "--data", folder]);
        code.ShouldBe(1);
        errors.TrimEnd('\n').ShouldNotContain("\n");
        errors.ShouldContain("presence.db is damaged (page 2 of");
        errors.ShouldContain($"\"aglow repair --keep-what-is-good\" saves the rest. Name the folder with --data {folder}");

        (code, output, _) = await AglowProcess.RunToEndAsync(["check", "--data", folder]);
        code.ShouldBe(1);
        output.ShouldContain("presence.db: damaged (page 2 of");
        output.ShouldContain("A repair loses: ");
        output.ShouldContain("users.db: good");
        (await AglowProcess.RunToEndAsync(["repair", "--data", folder])).Code.ShouldBe(2);

        (code, output, errors) = await AglowProcess.RunToEndAsync(["repair", "--keep-what-is-good", "--data", folder]);
        code.ShouldBe(0, errors);
        output.ShouldContain($"The damaged databases are in {folder}/damaged-");
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            (await server.Http.GetAsync("/users/ann")).IsSuccessStatusCode.ShouldBeTrue();
            (await server.StopAsync()).ShouldBe(0);
        }

        Directory.Delete(parent, recursive: true);
    }

    [Fact]
    public async Task A_check_and_a_repair_need_no_right_to_the_parent_and_say_how_much_room_they_need()
    {
        var parent = AglowProcess.NewFolder();
        var folder = Path.Combine(parent, "data");
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            (await server.PostAsync("/heartbeat", """{"user_ids":[7,"bob"]}""")).Status.ShouldBe(200);
            // more than the limit below
            using var many = new ByteArrayContent(MemoryMarshal.AsBytes<int>([.. Enumerable.Range(0, 500_000)]).ToArray());
            many.Headers.ContentType = new(Calling.Packed);
            (await server.Http.PostAsync("/heartbeat", many)).IsSuccessStatusCode.ShouldBeTrue();
            (await server.StopAsync()).ShouldBe(0);
        }

        Flip(Path.Combine(folder, "presence.db"), 20_000);
        FolderTests.SetMode(parent, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        var (code, output, errors) = await RunAsync(["prlimit", "--fsize=2000000"], "check");
        code.ShouldBe(1);
        errors.ShouldContain("a check and a repair copy the databases, and need as much free room as these take, ");
        errors.TrimEnd('\n').ShouldNotContain("\n");
        (code, output, errors) = await RunAsync([], "check");
        (code, errors).ShouldBe((1, ""));
        output.ShouldContain("presence.db: damaged");
        (code, output, errors) = await RunAsync([], "repair", "--keep-what-is-good");
        code.ShouldBe(0, errors);
        output.ShouldContain($"The damaged databases are in {folder}/damaged-");
        await using (var server = await AglowProcess.StartAsync(folder))
            (await server.StopAsync()).ShouldBe(0);
        FolderTests.SetMode(parent, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        Directory.Delete(parent, recursive: true);

        Task<(int Code, string Output, string Errors)> RunAsync(string[] through, params string[] command)
        {
            string[] all = [.. FolderTests.WithoutPrivilege, .. through, AglowProcess.ProgramOf(command), .. command, "--data", folder];
            return AglowProcess.RunToEndAsync(
                all[1..], new Dictionary<string, string> { ["DOTNET_EnableWriteXorExecute"] = "0" }, program: all[0]);
        }
    }

    [Fact]
    public async Task A_key_of_which_a_byte_was_changed_stops_the_start()
    {
        var folder = AglowProcess.NewFolder();
        await TokenServer.AddKeyAsync(folder, "reader", "read");
        var path = Path.Combine(folder, "keys.json");
        var json = await File.ReadAllTextAsync(path);
        await File.WriteAllTextAsync(path, json.Replace("\"reader\"", "\"leader\"", StringComparison.Ordinal));
        var (code, _, errors) = await AglowProcess.RunToEndAsync(
            ["serve", "--urls", "http://127.0.0.1:0", "--data", folder, "--auth", "token"]);
        code.ShouldBe(1);
        errors.ShouldContain("the entry of key \"leader\" is damaged or was changed by hand");
        // a file written by hand has no checksums
        var byHand = json.Split('\n').Where(static line => !line.Contains("\"check\"", StringComparison.Ordinal));
        await File.WriteAllTextAsync(path, string.Join('\n', byHand).Replace(",\n  }", "\n  }", StringComparison.Ordinal));
        (await AglowProcess.RunToEndAsync(["keys", "list", "--data", folder])).Output.ShouldContain("reader");
        Directory.Delete(folder, recursive: true);
    }

    private static void Flip(string path, long at)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        Span<byte> one = stackalloc byte[1];
        RandomAccess.Read(file, one, at).ShouldBe(1);
        one[0] ^= 0x40;
        RandomAccess.Write(file, one, at);
    }
}
