using System.Text;
using Aglow.Model;

namespace Aglow.Users;

/// <summary>Makes keys numbers: those that this node knows at once, the others by the directory.</summary>
/// <remarks>Threading: any thread.</remarks>
/// <param name="directory">Who has which number; null: no key has one.</param>
/// <param name="known">The keys that this node knows.</param>
internal sealed class KeyResolver(IUserDirectory? directory, KeyCache known)
{
    /// <summary>Raised with a key and its number when it became known by being registered.</summary>
    public event Action<string, uint>? Registered;

    /// <summary>The number of a user; <see cref="UserId.Nobody"/> for a key nobody registered.</summary>
    /// <param name="user">A number, which is its own, or a key.</param>
    /// <param name="register">Whether a key that has none gets one: durable when this completes.</param>
    public async ValueTask<uint> ResolveAsync(UserId user, bool register)
    {
        if (user.Key is not { } key)
            return user.Number;
        if (known.TryGet(Encoding.UTF8.GetBytes(key), out var number))
            return number;
        if (directory is null)
            return UserId.Nobody;
        var numbers = await AskAsync(directory, [key], register);
        return numbers[0] == 0 ? UserId.Nobody : numbers[0];
    }

    /// <summary>Gives the keys of a batch their numbers; those nobody registered stay <see cref="UserId.Nobody"/>, unless they are registered here.</summary>
    public async ValueTask ResolveAsync(UserBatch users, bool register)
    {
        if (users.Unresolved is not { Count: > 0 } unresolved || directory is null)
            return;
        var keys = new string[unresolved.Count];
        for (var i = 0; i < keys.Length; i++)
            keys[i] = Encoding.UTF8.GetString(users.Text(unresolved[i]));
        var numbers = await AskAsync(directory, keys, register);
        for (var i = 0; i < keys.Length; i++)
        {
            if (numbers[i] != 0)
                users.Resolve(unresolved[i], numbers[i]);
        }
    }

    /// <summary>Notes what the directory said of a key.</summary>
    /// <param name="key">The key.</param>
    /// <param name="number">Its number.</param>
    /// <param name="removals">How many keys had been removed (<see cref="KeyCache.Removals"/>) before it was asked: one that was removed since is not known.</param>
    /// <param name="registered">Whether it was registered by that.</param>
    public void Know(string key, uint number, long removals, bool registered)
    {
        var utf8 = Encoding.UTF8.GetBytes(key);
        known.Add(utf8, number);
        if (known.Removals != removals)
            known.Remove(utf8);
        if (registered)
            Registered?.Invoke(key, number);
    }

    // The numbers of keys, 0 for those that have none; what has one is known from here on.
    private async ValueTask<uint[]> AskAsync(IUserDirectory asked, string[] keys, bool register)
    {
        var numbers = new uint[keys.Length];
        var removals = known.Removals;
        if (register)
            await asked.RegisterAsync(keys, numbers);
        else
            await asked.FindNumbersAsync(keys, numbers);
        for (var i = 0; i < keys.Length; i++)
        {
            if (numbers[i] != 0)
                Know(keys[i], numbers[i], removals, register);
        }

        return numbers;
    }
}
