namespace Aglow.Install.Tests;

/// <summary>The package, which is built once.</summary>
public sealed class DebianPackage : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("aglow-debian-").FullName;

    public string File { get; private set; } = "";

    public async Task InitializeAsync()
    {
        // with the least compression, because that takes a second or two instead of many
        var build = Published.Deploy("debian", "build");
        File = (await Tool.RunAsync("env", "AGLOW_DEB_LEVEL=0", build, await Published.FolderAsync(), _folder)).Trim();
    }

    public Task DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return Task.CompletedTask;
    }
}
