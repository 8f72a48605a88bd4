namespace Aglow.Stores.Tests;

/// <summary>Disposes several things at the end of a test, also if the test fails.</summary>
internal sealed class Together(IEnumerable<IAsyncDisposable> all) : IAsyncDisposable
{
    private readonly IAsyncDisposable[] _all = [.. all];

    public async ValueTask DisposeAsync()
    {
        foreach (var one in _all)
            await one.DisposeAsync();
    }
}
