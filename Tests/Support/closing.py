"""The end of a run of tests, alike for all of them: what failed once more, for who sees only the last lines; then the counts."""


def closing(passed, failures, width=2000):
    """Prints the failures, pairs of a title and of what went wrong, and "N passed, N failed"; returns the exit status."""
    for title, problem in failures:
        text = str(problem).strip()
        shown = text if len(text) <= width else text[: width // 2] + "\n...\n" + text[-width // 2 :]
        print(f"FAILED: {title}\n  " + shown.replace("\n", "\n  "))
    print(f"{passed} passed, {len(failures)} failed", flush=True)
    return 1 if failures or not passed else 0
