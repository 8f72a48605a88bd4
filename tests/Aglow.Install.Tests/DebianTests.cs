using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Aglow.Install.Tests;

/// <summary>The Debian package: built, checked, installed into another root, started, stopped, removed and purged.</summary>
public sealed partial class DebianTests(DebianPackage package) : IClassFixture<DebianPackage>
{
    [Fact]
    public async Task Lintian_finds_no_fault()
    {
        var (code, output, _) = await Tool.TryAsync("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", package.File);
        (code, output).ShouldBe((0, ""));
    }

    [Fact]
    public async Task It_is_installed_started_stopped_removed_and_purged()
    {
        await using var root = await OtherRoot.MakeAsync();
        await InstallAsync(root);
        (await root.RunAsync("stat", "-c", "%U %a", "/var/lib/aglow")).ShouldBe("aglow 700\n");
        (await root.RunAsync("stat", "-c", "%U %a", "/etc/aglow/credentials")).ShouldBe("root 700\n");
        (await root.RunAsync("getent", "passwd", "aglow")).ShouldMatch(":/var/lib/aglow:/usr/sbin/nologin$");
        (await root.ExistsAsync("/etc/systemd/system/multi-user.target.wants/aglow.service")).ShouldBeTrue("it starts with the machine");
        await ManualHasEveryFlagAsync(root);

        var settings = """{"Aglow":{"Urls":"http://127.0.0.1:0","Auth":"token"}}""";
        await root.RunAsync("sh", "-c", "echo \"$1\" > /etc/aglow/aglow.json", "sh", settings);
        var secret = RandomNumberGenerator.GetBytes(32);
        await root.RunAsync("sh", "-c", "echo \"$1\" > /etc/aglow/credentials/JWT_SECRET", "sh", Convert.ToBase64String(secret));
        await RunsAsync(root, secret);

        await root.RunAsync("dpkg", "--remove", "aglow");
        (await root.ExistsAsync("/usr/bin/aglow-server")).ShouldBeFalse();
        (await root.ExistsAsync("/var/lib/aglow/users.db")).ShouldBeTrue("data outlives the program");

        // settings of the administrator stay, without a question
        await InstallAsync(root);
        (await root.RunAsync("cat", "/etc/aglow/aglow.json")).ShouldBe($"{settings}\n");
        await RunsAsync(root, secret);

        await root.RunAsync("dpkg", "--purge", "aglow");
        (await root.WrittenAsync("aglow")).ShouldBeEmpty();
    }

    private async Task InstallAsync(OtherRoot root)
    {
        // the index of all manuals takes longer than all else
        await root.RunAsync("rm", "-f", "/var/lib/man-db/auto-update");
        await root.CopyAsync(package.File, "/tmp/aglow.deb");
        await root.RunAsync("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "/tmp/aglow.deb");
    }

    // As systemd does it: each file of the folder is a credential, its name after that of the folder.
    private static async Task RunsAsync(OtherRoot root, byte[] secret)
    {
        const string Credentials = "/run/credentials/aglow.service";
        const string Load = "mkdir -p $1; for file in $3/*; do install -m 400 -o $4 $file $1/$2_${file##*/}; done; chown $4 $1";
        await root.RunAsync(["sh", "-euc", Load, "sh", Credentials, .. Unit.One("LoadCredential").Split(':'), Unit.One("User")]);
        await using var server = await Service.StartAsync(root.Command(Unit.Start(Credentials)));
        await server.AnswersAsync(TokenOf("ann", secret));
        foreach (var place in new[] { "cmdline", "environ" })
            (await server.ProcAsync(place)).ShouldNotContain(Convert.ToBase64String(secret));
        (await server.StopAsync()).ShouldBe(0, server.Output);
        server.Output.ShouldNotContain(Convert.ToBase64String(secret));
    }

    private static async Task ManualHasEveryFlagAsync(OtherRoot root)
    {
        foreach (var page in new[] { "aglow", "aglow-server" })
        {
            var manual = (await root.RunAsync("zcat", $"/usr/share/man/man1/{page}.1.gz")).Replace("\\", "");
            foreach (var command in new[] { "serve", "keys add", "changes", "webhooks add", "backup" })
            {
                var help = await root.RunAsync(["aglow", .. command.Split(' '), "--help"]);
                var flags = Flag().Matches(help).Select(static m => m.Value).ToList();
                flags.ShouldNotBeEmpty();
                foreach (var flag in flags)
                    manual.ShouldMatch($"(?m)^\\.B .*{flag}( |$)");
            }
        }
    }

    private static string TokenOf(string user, byte[] secret)
    {
        static string Part(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
        var end = DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 600;
        var content = Part("""{"alg":"HS256","typ":"JWT"}""") + "." + Part($$"""{"sub":"{{user}}","exp":{{end}}}""");
        return $"{content}.{Base64Url.EncodeToString(HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(content)))}";
    }

    [GeneratedRegex(@"(?<=^  )--[a-z-]+", RegexOptions.ExplicitCapture | RegexOptions.Multiline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Flag();
}
