using System.Runtime.ExceptionServices;

namespace Aglow.Diagnostics;

/// <summary>Closes the parts of something that was open. A part that fails does not keep the following ones open.</summary>
/// <remarks>
/// A plain sequence of closes leaves the rest open after the first that throws: a lock stays held, connections stay up, words stay
/// unwritten.
/// </remarks>
public static class Closing
{
    /// <summary>Closes each part in order, then throws the first failure.</summary>
    public static ValueTask AllAsync(params Func<ValueTask>[] parts) => AfterAsync(null, parts);

    /// <summary>Closes each part in order, then throws the failure that came before, or else the first failure of a part.</summary>
    /// <param name="failure">Why the parts are closed, such as a start that failed; null: nothing failed.</param>
    /// <param name="parts">The parts.</param>
    public static async ValueTask AfterAsync(Exception? failure, params Func<ValueTask>[] parts)
    {
        var first = failure is null ? null : ExceptionDispatchInfo.Capture(failure);
        foreach (var close in parts)
        {
            try
            {
                await close();
            }
            catch (Exception e)
            {
                first ??= ExceptionDispatchInfo.Capture(e);
            }
        }

        first?.Throw();
    }

    /// <summary>A part that closes without waiting.</summary>
    public static Func<ValueTask> Of(IDisposable part) => () =>
    {
        part.Dispose();
        return default;
    };
}
