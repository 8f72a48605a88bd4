namespace Aglow.Install.Tests;

/// <summary>The image: its root folder is made as the Dockerfile makes it, and runs in a mount namespace as an engine runs it.</summary>
public sealed class ImageTests : IAsyncLifetime
{
    private const long MostBytes = 50_000_000;

    // What an engine does: a read-only root, /proc, a few devices, a folder for /tmp, a volume.
    private const string Engine = """
        root=$1 volume=$2 user=$3; shift 3
        mkdir -p "$root/proc" "$root/dev"
        mount --bind "$root" "$root"
        mount -o remount,bind,ro,nosuid,nodev "$root"
        mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        for device in null zero random urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
        mount -t tmpfs -o mode=1777,size=16m,nosuid,nodev,noexec tmpfs "$root/tmp"
        mount -t tmpfs -o mode=700,uid="${user%:*}",gid="${user#*:}",nosuid,nodev,noexec tmpfs "$root$volume"
        chroot=$(command -v chroot)
        exec setpriv --no-new-privs "$chroot" --userspec="$user" --groups= "$root" "$@"
        """;

    private readonly Dockerfile _image = Dockerfile.Read();
    private readonly string _root = Directory.CreateTempSubdirectory("aglow-image-").FullName;

    public async Task InitializeAsync()
    {
        // the image has what one command puts into one folder, so that nothing is listed twice
        var (from, to) = _image.Copies.ShouldHaveSingleItem();
        to.ShouldBe("/");
        _image.BuildSteps.ShouldContain("AGLOW_VERSION=$VERSION ./aglow publish /published");
        var make = _image.BuildSteps.Single(static step => step.StartsWith("deploy/", StringComparison.Ordinal)).Split(' ');
        make.ShouldBe(["deploy/docker/make-root", "/published", from.TrimEnd('/')]);
        await Tool.RunAsync([.. Tool.AsRoot, Path.Combine(Published.Root, make[0]), await Published.FolderAsync(), _root]);
    }

    public async Task DisposeAsync() => await Tool.RunAsync([.. Tool.AsRoot, "rm", "-rf", _root]);

    [Fact]
    public async Task It_has_the_server_and_its_libraries_and_no_more_than_50_MB()
    {
        _image.From.ShouldBe("scratch");
        var files = (await Tool.RunAsync([.. Tool.AsRoot, "find", _root, "-printf", "%y %m %s %P\n"]))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(static line => line.Split(' ', 4))
            .ToList();
        files.Where(static f => f[0] == "f").Sum(static f => long.Parse(f[2])).ShouldBeLessThan(MostBytes);
        files.Where(static f => f[0] == "f" && (Convert.ToInt32(f[1], 8) & 0b001_001_001) != 0)
            .Where(static f => !f[3].StartsWith("lib", StringComparison.Ordinal))
            .Select(static f => f[3]).ShouldBe(["app/aglow-server"]);
        files.ShouldNotContain(static f => Convert.ToInt32(f[1], 8) >= 0x400, "set-user-ID and set-group-ID");
        files.Where(static f => f[0] == "d" && (Convert.ToInt32(f[1], 8) & 0b010) != 0).Select(static f => f[3]).ShouldBe(["tmp"]);
        // without certificates the image would work until its first https call
        var certificates = Path.Combine(_root, "usr/lib/ssl/cert.pem");
        File.Exists(_root + new FileInfo(certificates).LinkTarget).ShouldBeTrue();
        // scanners read which packages the libraries are from
        Directory.GetFiles(Path.Combine(_root, "var/lib/dpkg/status.d")).Select(Path.GetFileName)
            .ShouldBe(["ca-certificates", "libc6", "libssl3"], ignoreOrder: true);
    }

    [Fact]
    public async Task It_runs_on_a_read_only_root_as_a_user_without_rights_and_stops_in_order()
    {
        string[] variables = [.. _image.Variables.Where(static v => v.Split('=')[0] is not ("AGLOW_URLS" or "AGLOW_AUTH"))];
        var path = $"PATH={Environment.GetEnvironmentVariable("PATH")}";
        string[] engine = ["env", "-i", path, "AGLOW_URLS=http://127.0.0.1:0", .. variables, "bash", "-euc", Engine, "engine"];
        await using var server = await Service.StartAsync(
            ["unshare", "--mount", "--ipc", "--uts", .. engine, _root, _image.Volume, _image.User, .. _image.EntryPoint]);
        await server.AnswersAsync();

        var status = (await server.ProcAsync("status")).Split('\n')
            .Select(static line => line.Split('\t'))
            .ToLookup(static words => words[0], static words => words[^1]);
        var user = _image.User.Split(':')[0];
        status["Uid:"].Single().ShouldBe(user);
        int.Parse(user).ShouldBeGreaterThan(0);
        Convert.ToUInt64(status["CapEff:"].Single(), 16).ShouldBe(0ul);
        status["NoNewPrivs:"].Single().ShouldBe("1");
        var (code, _, errors) = await Tool.TryAsync([.. Tool.AsRoot, "touch", $"/proc/{server.Id}/root/app/more"]);
        (code, errors).ShouldSatisfyAllConditions(() => code.ShouldBe(1), () => errors.ShouldContain("Read-only file system"));

        (await server.StopAsync()).ShouldBe(0, server.Output);
    }
}
