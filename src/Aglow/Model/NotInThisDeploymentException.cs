namespace Aglow.Model;

/// <summary>
/// This deployment does not have what a caller asks for, such as a user directory. Callers of the HTTP API get 501 and this message.
/// </summary>
/// <remarks>
/// A type of its own, because any other <see cref="NotSupportedException"/> is a fault of the program: it is logged, and its text reaches
/// no caller.
/// </remarks>
public sealed class NotInThisDeploymentException : NotSupportedException
{
    /// <summary>With a message that says what is missing, and what to send instead.</summary>
    public NotInThisDeploymentException(string message)
        : base(message)
    {
    }
}
