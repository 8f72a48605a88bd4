using System.Reflection;

namespace Aglow.Install.Tests;

/// <summary>
/// What <c>./aglow publish</c> makes: the native file and its bill of materials. <c>./test</c> names their folder in TEST_PUBLISHED.
/// </summary>
internal static class Published
{
    public static readonly string Root = typeof(Published).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(static a => a.Key == "RepositoryRoot").Value!;

    private static readonly Lazy<Task<string>> InFolder = new(MakeAsync);

    /// <summary>A file under <c>deploy/</c>.</summary>
    public static string Deploy(params string[] path) => Path.Combine([Root, "deploy", .. path]);

    /// <summary>The folder, which is made once.</summary>
    public static Task<string> FolderAsync() => InFolder.Value;

    private static async Task<string> MakeAsync()
    {
        if (Environment.GetEnvironmentVariable("TEST_PUBLISHED") is { Length: > 0 } named)
            return named;
        var folder = Path.Combine(Root, "out", "publish");
        await Tool.RunAsync(Path.Combine(Root, "aglow"), "publish", folder);
        return folder;
    }
}
