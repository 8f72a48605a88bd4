namespace Aglow.Server.Tests;

/// <summary>Secrets in files: systemd's credentials, and the folders that Docker and Kubernetes mount.</summary>
public sealed class SecretsTests : IDisposable
{
    private readonly string _folder = AglowProcess.NewFolder();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("flag")]
    [InlineData("AGLOW_SECRETS")]
    [InlineData("CREDENTIALS_DIRECTORY")]
    public async Task A_folder_of_secrets_is_read_and_other_files_in_it_are_not(string named)
    {
        Write("AGLOW_JWT_SECRET", Convert.ToBase64String(Token.Secret) + "\n");
        Write("AGLOW_LEASE_SECONDS", "101\r\n");
        Write("AGLOW_REDIS_PASSWORD", "\n");
        Write("another-service", "password");
        string[] flags = ["--auth", "token", "--jwt-issuer", Token.Issuer, "--jwt-audience", Token.Audience];
        await using var server = named == "flag"
            ? AglowProcess.Run(null, [.. flags, "--secrets", _folder])
            : AglowProcess.Run(null, flags, new() { [named] = _folder });
        await server.ReadyAsync();
        (await server.CallAsync(Token.Of("ann"), "POST", "/heartbeat", """{"user_id":"ann"}""")).Status.ShouldBe(200);
        server.Output.ShouldContain("lease 101 s");
    }

    [Fact]
    public async Task A_variable_outranks_a_secret_and_a_secret_the_settings_file()
    {
        Write("AGLOW_LEASE_SECONDS", "102");
        Write("AGLOW_HEARTBEAT_SECONDS", "32");
        Write("settings.json", $$$"""{"Aglow":{"LeaseSeconds":101,"HeartbeatSeconds":31,"Secrets":"{{{_folder}}}"}}""");
        await using var server = AglowProcess.Run(
            null, ["--settings", Path.Combine(_folder, "settings.json")], new() { ["AGLOW_LEASE_SECONDS"] = "103" });
        await server.ReadyAsync();
        server.Output.ShouldContain("lease 103 s, a heartbeat every 32 s");
    }

    [Theory]
    [InlineData("AGLOW_JWT_SECRET", "zz-private-zz", "AGLOW_JWT_SECRET is not valid: set base64")]
    [InlineData("AGLOW_LEASE_SECONDS", "zz-private-zz", "AGLOW_LEASE_SECONDS is not valid: set a whole number")]
    [InlineData("AGLOW_JWT_SECERT", "zz-private-zz", "AGLOW_JWT_SECERT is not a setting")]
    public async Task A_wrong_secret_is_one_line_that_does_not_show_it(string name, string value, string expected)
    {
        Write(name, value);
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--secrets", _folder]);
        code.ShouldBe(2);
        errors.ShouldContain(expected);
        errors.ShouldNotContain("zz-private-zz");
        errors.TrimEnd('\n').ShouldNotContain("\n");
    }

    [Fact]
    public async Task A_folder_of_secrets_that_is_not_there_stops_the_start()
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--secrets", Path.Combine(_folder, "none")]);
        code.ShouldBe(2);
        errors.ShouldContain("secrets cannot be read");
    }

    [Fact]
    public async Task A_key_is_written_once_into_a_file_that_only_its_owner_reads()
    {
        var file = Path.Combine(_folder, "prometheus.key");
        string[] add = ["keys", "add", "--data", _folder, "--name", "prometheus", "--scope", "operate", "--file", file];
        (await AglowProcess.RunToEndAsync(add)).ShouldBe((0, "", ""));
        var key = await File.ReadAllTextAsync(file);
        key.ShouldMatch("^aglow_[A-Za-z0-9_-]{8}_[A-Za-z0-9_-]{43}\n$");
        if (!OperatingSystem.IsWindows())
            File.GetUnixFileMode(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        // a deployment may add its key again at each start, and the key stays the same
        (await AglowProcess.RunToEndAsync(add)).ShouldBe((0, "", ""));
        (await File.ReadAllTextAsync(file)).ShouldBe(key);
        // the key must not exist without its file
        add[^1] = Path.Combine(_folder, "none", "other.key");
        add[5] = "other";
        (await AglowProcess.RunToEndAsync(add)).Code.ShouldBe(1);
        (await AglowProcess.RunToEndAsync(["keys", "list", "--data", _folder])).Output.ShouldNotContain("other");
    }

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);
}
