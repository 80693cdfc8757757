/* The sandbox process of each pod in the test cluster: holds the pod's namespaces, buries orphans, leaves when told. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int signal_number)
{
    if (signal_number != SIGCHLD)
        _exit(EXIT_SUCCESS);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(void)
{
    struct sigaction act = {.sa_handler = on_signal};

    if (sigaction(SIGINT, &act, NULL) < 0 || sigaction(SIGTERM, &act, NULL) < 0 || sigaction(SIGCHLD, &act, NULL) < 0)
        return EXIT_FAILURE;
    for (;;)
        pause();
}
