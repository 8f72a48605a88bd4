namespace Aglow.Users;

/// <summary>
/// Puts changes of one user's facts (claims, visibility, deletion) in one order; a handful of doors for all users, since such changes are
/// rare.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class UserLocks : IDisposable
{
    private const int Doors = 64;

    private readonly SemaphoreSlim[] _doors = [.. Enumerable.Range(0, Doors).Select(static _ => new SemaphoreSlim(1))];

    /// <summary>
    /// Waits until nobody else changes this user, or another user with the same lock. Dispose the result to let the next caller in.
    /// </summary>
    public async ValueTask<Held> EnterAsync(uint user)
    {
        var door = _doors[user % Doors];
        await door.WaitAsync();
        return new Held(door);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var door in _doors)
            door.Dispose();
    }

    /// <summary>A door that is held.</summary>
    internal readonly struct Held(SemaphoreSlim door) : IDisposable
    {
        /// <summary>Lets the next one in.</summary>
        public void Dispose() => door.Release();
    }
}
