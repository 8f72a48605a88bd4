namespace Aglow.Client;

/// <summary>Gets tokens from the application: calls it at most once a second, and waits at most 10 s for each.</summary>
/// <remarks>
/// The application's callback may be slow, throw, never complete, or always return the same token. None of these may make the client call
/// it, or connect, more often. A caller that asks during a call gets the result of that call. Threading: any thread.
/// </remarks>
internal sealed class TokenSource(AglowClientOptions options)
{
    private static readonly TimeSpan CallbackTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Spacing = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private Task<string>? _requesting;
    private long? _requestedAt;

    /// <summary>Whether the application can supply a new token when one has ended.</summary>
    public bool IsCallback => options.AccessToken is not null;

    /// <summary>Gets a token, or null if none is used. A token that is less than a second old is used again.</summary>
    /// <exception cref="AglowException">The application gave no token.</exception>
    public async Task<string?> GetAsync(CancellationToken cancellationToken) => await RequestAsync(mayBeOld: true, cancellationToken);

    /// <summary>Gets a new token from the application, at least a second after the last call.</summary>
    /// <exception cref="AglowException">The application gave no token.</exception>
    public async Task<string?> RequestAsync(CancellationToken cancellationToken) => await RequestAsync(mayBeOld: false, cancellationToken);

    private async Task<string?> RequestAsync(bool mayBeOld, CancellationToken cancellationToken)
    {
        if (options.AccessToken is not { } callback)
            return options.Token;
        while (true)
        {
            var wait = TimeSpan.Zero;
            Task<string>? requesting;
            lock (_gate)
            {
                requesting = _requesting;
                var isYoung = _requestedAt is { } at && (wait = Spacing - options.TimeProvider.GetElapsedTime(at)) > TimeSpan.Zero;
                if (requesting is null || (requesting.IsCompleted && !(mayBeOld && isYoung)))
                {
                    requesting = null;
                    if (!isYoung)
                    {
                        _requestedAt = options.TimeProvider.GetTimestamp();
                        requesting = _requesting = CallAsync(callback);
                    }
                }
            }

            if (requesting is not null)
                return await requesting.WaitAsync(cancellationToken);
            await Task.Delay(wait, options.TimeProvider, cancellationToken);
        }
    }

    private async Task<string> CallAsync(Func<CancellationToken, ValueTask<string>> callback)
    {
        using var limit = new CancellationTokenSource(CallbackTimeout, options.TimeProvider);
        string? token;
        try
        {
            token = await callback(limit.Token).AsTask().WaitAsync(limit.Token);
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
