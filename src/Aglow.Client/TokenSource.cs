namespace Aglow.Client;

/// <summary>
/// Gets tokens from the application: at most once a second, waiting for at most 10 s.
/// </summary>
/// <remarks>
/// The application's callback may be slow, throw, never complete, or always give the same token. None of that may make a client call it or
/// connect more often. A caller who asks during a call gets the result of that call. Threading: any thread.
/// </remarks>
internal sealed class TokenSource(AglowClientOptions options)
{
    private static readonly TimeSpan CallbackTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Spacing = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private Task<string>? _asking;
    private long? _askedAt;

    /// <summary>Whether a newer token may come when one has ended.</summary>
    public bool IsCallback => options.AccessToken is not null;

    /// <summary>A token, or null if none is used. One that is less than a second old is used again.</summary>
    /// <exception cref="AglowException">The application gave none.</exception>
    public async Task<string?> GetAsync(CancellationToken cancellationToken) => await AskAsync(mayBeOld: true, cancellationToken);

    /// <summary>A token from the application, at the earliest a second after the last one.</summary>
    /// <exception cref="AglowException">The application gave none.</exception>
    public async Task<string?> AskAsync(CancellationToken cancellationToken) => await AskAsync(mayBeOld: false, cancellationToken);

    private async Task<string?> AskAsync(bool mayBeOld, CancellationToken cancellationToken)
    {
        if (options.AccessToken is not { } ask)
            return options.Token;
        while (true)
        {
            var wait = TimeSpan.Zero;
            Task<string>? asking;
            lock (_gate)
            {
                asking = _asking;
                var isYoung = _askedAt is { } at && (wait = Spacing - options.TimeProvider.GetElapsedTime(at)) > TimeSpan.Zero;
                if (asking is null || (asking.IsCompleted && !(mayBeOld && isYoung)))
                {
                    asking = null;
                    if (!isYoung)
                    {
                        _askedAt = options.TimeProvider.GetTimestamp();
                        asking = _asking = CallAsync(ask);
                    }
                }
            }

            if (asking is not null)
                return await asking.WaitAsync(cancellationToken);
            await Task.Delay(wait, options.TimeProvider, cancellationToken);
        }
    }

    private async Task<string> CallAsync(Func<CancellationToken, ValueTask<string>> ask)
    {
        using var limit = new CancellationTokenSource(CallbackTimeout, options.TimeProvider);
        string? token;
        try
        {
            token = await ask(limit.Token).AsTask().WaitAsync(limit.Token);
        }
        catch (OperationCanceledException late) when (limit.IsCancellationRequested)
        {
            throw AglowException.NotConnected(
                $"The callback {nameof(AglowClientOptions.AccessToken)} did not complete within {CallbackTimeout.TotalSeconds} s.", late);
        }
        catch (Exception failure)
        {
            throw AglowException.NotConnected($"The callback {nameof(AglowClientOptions.AccessToken)} failed: {failure.Message}", failure);
        }

        return string.IsNullOrEmpty(token)
            ? throw AglowException.NotConnected($"The callback {nameof(AglowClientOptions.AccessToken)} gave no token.")
            : token;
    }
}
