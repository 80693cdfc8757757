#include "high/high.h"

#include "low/low.h"

int high(void)
{
    return low() + 1;
}
