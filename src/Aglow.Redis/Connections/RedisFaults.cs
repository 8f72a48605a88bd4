using StackExchange.Redis;
using StackExchange.Redis.Availability;

namespace Aglow.Redis.Connections;

/// <summary>Classifies failures of the library.</summary>
internal static class RedisFaults
{
    public static bool IsOfRedis(Exception failure) =>
        failure is RedisException or RedisCommandException or TimeoutException or ObjectDisposedException or InvalidOperationException;

    /// <summary>Why a server refuses writes, in its own words; null: the failure is not such a refusal.</summary>
    public static string? RefusalIn(Exception failure) =>
        new FaultContext(failure).ErrorKind
            is RedisErrorKind.OutOfMemory or RedisErrorKind.Misconfigured or RedisErrorKind.NoReplicas or RedisErrorKind.ReadOnly
            ? failure.Message
            : null;
}
