namespace Aglow.Users;

/// <summary>
/// Orders changes of one user's data (claims, visibility, deletion). All users share a few locks, because such changes are rare.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class UserLocks : IDisposable
{
    private const int Count = 64;

    private readonly SemaphoreSlim[] _locks = [.. Enumerable.Range(0, Count).Select(static _ => new SemaphoreSlim(1))];

    /// <summary>
    /// Waits until no other caller changes this user, or another user with the same lock. Dispose the result to release the lock.
    /// </summary>
    public ValueTask<Turn> EnterAsync(uint user) => _locks[user % Count].EnterAsync();

    public void Dispose()
    {
        foreach (var one in _locks)
            one.Dispose();
    }
}
