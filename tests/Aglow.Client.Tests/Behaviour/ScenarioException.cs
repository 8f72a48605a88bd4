namespace Aglow.Client.Tests.Behaviour;

/// <summary>A step of a scenario failed.</summary>
public sealed class ScenarioException(string message, Exception? inner = null) : Exception(message, inner);
