namespace Aglow.Benchmarks;

/// <summary>A new folder, which is deleted when this is disposed.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("aglow-bench-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
