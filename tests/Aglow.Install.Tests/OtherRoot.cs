using System.Globalization;
using System.Text.RegularExpressions;

namespace Aglow.Install.Tests;

/// <summary>
/// A copy of this machine's root folder in a mount namespace. What is installed there is written into memory, and is gone at the end:
/// this machine stays as it was.
/// </summary>
internal sealed partial class OtherRoot : IAsyncDisposable
{
    private const string Mount = """
        mount -t tmpfs tmpfs "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
        for folder in proc dev; do mount --rbind "/$folder" "$1/root/$folder"; done
        for folder in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$1/root/$folder"; done
        echo mounted
        exec sleep infinity
        """;

    private readonly string _folder;
    private readonly Service _holder;

    private OtherRoot(string folder, Service holder) => (_folder, _holder) = (folder, holder);

    public static async Task<OtherRoot> MakeAsync()
    {
        var folder = Directory.CreateTempSubdirectory("aglow-root-").FullName;
        return new(folder, await Service.StartAsync(["unshare", "--mount", "bash", "-euc", Mount, "root", folder], Mounted()));
    }

    /// <summary>A command in this root, as an argument of <see cref="Service.StartAsync"/>.</summary>
    public string[] Command(params string[] command) => [.. Namespace, "chroot", $"{_folder}/root", .. command];

    public Task<string> RunAsync(params string[] command) => Tool.RunAsync([.. Tool.AsRoot, .. Command(command)]);

    /// <summary>Copies a file of this machine into the other root.</summary>
    public Task CopyAsync(string file, string to) => Tool.RunAsync([.. Tool.AsRoot, .. Namespace, "cp", file, $"{_folder}/root{to}"]);

    public async Task<bool> ExistsAsync(string path) => (await Tool.TryAsync([.. Tool.AsRoot, .. Command("test", "-e", path)])).Code == 0;

    /// <summary>The written paths that still exist and whose name contains <paramref name="word"/>.</summary>
    public async Task<string[]> WrittenAsync(string word)
    {
        // a character device stands for a file of this machine that was deleted there
        string[] find = ["find", $"{_folder}/upper", "-iname", $"*{word}*", "-not", "-type", "c", "-printf", "%P\n"];
        return (await Tool.RunAsync([.. Tool.AsRoot, .. Namespace, .. find])).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    public async ValueTask DisposeAsync()
    {
        await _holder.DisposeAsync();
        Directory.Delete(_folder);
    }

    private string[] Namespace => ["nsenter", "--mount", "--target", _holder.Id.ToString(CultureInfo.InvariantCulture)];

    [GeneratedRegex("^mounted$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Mounted();
}
