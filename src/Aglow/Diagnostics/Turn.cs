namespace Aglow.Diagnostics;

/// <summary>A semaphore that is held. Dispose it to release the semaphore.</summary>
internal readonly struct Turn(SemaphoreSlim semaphore) : IDisposable
{
    public void Dispose() => semaphore.Release();
}

/// <summary>Waits for turns.</summary>
internal static class Turns
{
    public static async ValueTask<Turn> EnterAsync(this SemaphoreSlim semaphore, CancellationToken cancel = default)
    {
        await semaphore.WaitAsync(cancel);
        return new Turn(semaphore);
    }
}
