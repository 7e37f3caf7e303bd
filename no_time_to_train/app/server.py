"""From pictures and models to a server that runs until it is told to stop."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from no_time_to_train.api import Segmenter
from no_time_to_train.app.events import Events
from no_time_to_train.app.pictures import Pictures
from no_time_to_train.app.project import CACHE, Outcome, Project, open_project
from no_time_to_train.app.prompts import Prompter
from no_time_to_train.app.routes import App
from no_time_to_train.app.search import Search
from no_time_to_train.app.worker import Worker
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.web.guards import Access, Guard
from no_time_to_train.web.running import LOOPBACK, listen, origins_of, require_uvicorn, run_server
from no_time_to_train.words import counted

SECONDS_TO_STOP = 30
"""What the model gets to finish the image that it works on."""


def say_at_once(line: str) -> None:
    """Print a line, also where the output is a file or a pipe."""
    print(line, flush=True)


@contextmanager
def opened_app(project: Project, finder: Segmenter) -> Iterator[App]:
    """The app of an open project; on leaving, its thread has ended."""
    events, worker = Events(), Worker("search")

    def tell(event: str, data: dict[str, Any]) -> None:
        events.tell(event, data, project.state.revision)

    def tell_operation(outcome: Outcome) -> None:
        tell("op", {"revision": outcome.revision, "images": outcome.images, "tab": outcome.tab})

    project.listeners.append(tell_operation)
    search = Search(project, finder, worker, tell)
    cache = finder.config.cache
    store = None if cache is None else DiskStore(cache.dir, int(cache.max_gb * 1e9))
    prompter = Prompter(finder.model.sam, project.images, tell, store)
    names = f"{finder.config.encoder_cfg.name} + {finder.config.sam2_cfg_file}"
    try:
        yield App(project, search, prompter, Pictures(project.images, project.folder), events, names)
    finally:
        events.close()
        prompter.close(SECONDS_TO_STOP)
        worker.close(SECONDS_TO_STOP)


def run_app(
    root: str | Path,
    make_finder: Callable[[Path], Segmenter],
    *,
    folder: str | Path | None = None,
    prepare: Callable[[App], None] = lambda _: None,
    host: str = LOOPBACK,
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = say_at_once,
) -> None:
    """Serve a project until Ctrl-C or SIGTERM.

    Args:
        root: folder of the pictures.
        make_finder: the models, given the folder of their cache.
        folder: of the project, see :func:`open_project`.
        prepare: called before the first search, to import what is there already.
        host: other than 127.0.0.1, others in the network who know the token may work on the project.
        port: 0 takes any that is free.
        browser: open it at the address.
        say: prints a line for the person.

    Raises:
        ConfigError: the extra ``app`` is missing, the project is open elsewhere, or the port is taken.
        DatasetError: no pictures.
    """
    require_uvicorn()
    with open_project(root, folder) as project, listen(host, port) as listening:
        finder = make_finder(project.folder / CACHE)
        with opened_app(project, finder) as app:
            prepare(app)
            access = Access(origins_of(listening, host))
            app.search.start()
            if project.view is not None:
                app.prompter.look_at(project.view)
            say(f"{counted(len(project.images), 'image')}, project in {project.folder}, {app.models}")
            if host != LOOPBACK:
                say("Anybody in the network who has the address below can see and change the project.")
            say(access.address)
            if browser:
                webbrowser.open(access.address)
            run_server(Guard(app.routes(), access), listening, app.events.close)
    say("stopped; everything is in the project")
